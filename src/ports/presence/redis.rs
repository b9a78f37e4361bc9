pub struct RedisPresence;
