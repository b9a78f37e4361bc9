pub struct MemoryPresence;
