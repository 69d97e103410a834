// Accounts in Redis, as a program that knows of no module keeps them: node-redis on plain keys.
//
//     node plain_node_redis.js URL
//
// Prints what each command answered.
'use strict';

const { createClient } = require('redis');

async function main() {
  const db = createClient({ url: process.argv[2] });
  await db.connect();
  const show = (...values) => console.log(JSON.stringify(values));

  show(await db.hSet('accounts:1', { name: 'ann', email: 'a@x', visits: 1 }));
  show({ ...(await db.hGetAll('accounts:1')) });
  show(await db.hIncrBy('accounts:1', 'visits', 4), await db.hGet('accounts:1', 'visits'));
  show(await db.multi().del('accounts:1').hSet('accounts:1', { name: 'anne' }).exec());
  show(await db.hSet('accounts:2', 'visits', 'many').catch((error) => error.message.slice(0, 11)));
  show(await Promise.all([3, 4].map((n) => db.hSet(`accounts:${n}`, { name: `a${n}`, visits: n }))));
  show(await db.expire('accounts:3', 300), await db.del('accounts:4'), await db.exists('accounts:4'));
  await db.quit();
}

main();
