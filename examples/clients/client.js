// A shop's stock through Redis in PostgreSQL. Needs node-redis, and examples/shop.json.
//
//     node examples/clients/client.js [redis://127.0.0.1:6379]
'use strict';

const { createClient } = require('redis');

const PATIENCE = 60_000; // ms

// What the error's first word says. A set or a delete is repeatable; an increment is not.
function mayBeSentAgain(error, repeatable) {
  const [code] = error.message.split(' ', 1);
  if (code === 'WTTIMEOUT') return repeatable || error.message.includes('nothing was written');
  return code === 'WTDOWN' || code === 'WTBUSY';
}

// Runs command until it is answered, refused, or PATIENCE is over.
async function write(command, { repeatable = true } = {}) {
  const until = Date.now() + PATIENCE;
  for (let pause = 50; ; pause = Math.min(2 * pause, 1000)) {
    try {
      return await command();
    } catch (error) {
      if (!mayBeSentAgain(error, repeatable) || Date.now() > until) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

// SQLSTATE and constraint of a WTERR: nothing changed, here or there. Throws all others.
function refusal(error) {
  const [code, sqlstate, ...words] = error.message.split(' ');
  if (code !== 'WTERR') throw error;
  const constraint = words.find((word) => word.startsWith('constraint='));
  return [sqlstate, ...(constraint ? [constraint.split('=')[1]] : [])].join(' ');
}

async function main() {
  const url = process.argv[2] ?? 'redis://127.0.0.1:6379';
  // One connection has one write in flight: what is sent on it behind a write waits. So there
  // are four, taken in turn.
  const clients = Array.from({ length: 4 }, () => createClient({ url, disableOfflineQueue: true }));
  for (const client of clients) client.on('error', (error) => console.error(error.message));
  await Promise.all(clients.map((client) => client.connect()));
  let turn = 0;
  const next = () => clients[turn++ % clients.length];

  const lamp = { title: 'Lamp', price: '19.999', stock: '5' };
  console.log('new fields:', await write(() => next().hSet('__{products:lamp}', lamp)));
  const row = await next().hmGet('products:lamp', ['title', 'price', 'stock']);
  console.log('the row:', ...row);

  try {
    await write(() => next().hSet('__{products:lamp}', 'price', '-1'));
  } catch (error) {
    console.log('refused:', refusal(error));
  }

  const buy = async () => {
    const take = () => next().hIncrBy('__{products:lamp}', 'stock', -1);
    try {
      await write(take, { repeatable: false });
      return true;
    } catch (error) {
      if (refusal(error) !== '23514 products_stock_check') throw error;
      return false;
    }
  };
  const bought = await Promise.all(Array.from({ length: 10 }, buy));
  const left = await next().hGet('products:lamp', 'stock');
  console.log(`sold: ${bought.filter(Boolean).length} of 10, left: ${left}`);

  await Promise.all(clients.map((client) => client.quit()));
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
