pub struct MemoryPush;
