pub struct FallbackThrottle;
