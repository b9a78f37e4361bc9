pub struct RedisBroker;
pub struct RedisConfig;
pub struct RedisLink;
