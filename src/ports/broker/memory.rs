pub struct MemoryBroker;
pub struct MemoryHub;
