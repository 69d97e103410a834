//! What a client is answered.

use redis_module::raw;

use super::Ctx;
use super::Value;

impl Ctx {
    pub(super) fn reply(&self, value: &Value) {
        // SAFETY: of all calls: `self.raw` is valid, and every pointer is to a live buffer of the
        // given length or to a C string. The server copies what it is given.
        unsafe {
            match value {
                Value::Integer(n) => raw::RedisModule_ReplyWithLongLong.unwrap()(self.raw, *n),
                Value::Bytes(bytes) => raw::RedisModule_ReplyWithStringBuffer.unwrap()(
                    self.raw,
                    bytes.as_ptr().cast(),
                    bytes.len(),
                ),
                Value::Status(text) => {
                    raw::RedisModule_ReplyWithSimpleString.unwrap()(self.raw, text.as_ptr())
                }
                Value::Error(text) => {
                    raw::RedisModule_ReplyWithError.unwrap()(self.raw, text.as_ptr())
                }
                Value::List(values) => {
                    raw::RedisModule_ReplyWithArray.unwrap()(self.raw, values.len() as _);
                    values.iter().for_each(|value| self.reply(value));
                    0
                }
                Value::Map(pairs) => {
                    raw::RedisModule_ReplyWithMap.unwrap()(self.raw, pairs.len() as _);
                    for (name, value) in pairs {
                        self.reply(&Value::Bytes(name.as_bytes().to_vec()));
                        self.reply(value);
                    }
                    0
                }
            }
        };
    }
}
