pub struct RedisThrottle;
