pub struct MemoryThrottle;
