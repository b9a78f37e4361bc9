//! The least that a thing can cost: small programs that do it, with nothing around it.
//!
//! Each is this program in another role, as a process of its own, so that its CPU and memory can be read.

pub mod change;
pub mod crier;
pub mod holders;
mod promise;
pub mod writing;

const ROLES: [&str; 5] = [change::PUBLISHER, change::SUBSCRIBER, crier::CRIER, holders::BARE, holders::STOCK];

/// Which of the floors' servers this process is, if it is one.
pub fn role() -> Option<String> {
    std::env::args().nth(1).filter(|role| ROLES.contains(&role.as_str()))
}

/// Runs one of the floors' servers until it is killed.
pub async fn serve(role: String) -> anyhow::Result<()> {
    match role.as_str() {
        crier::CRIER => crier::serve().await,
        holders::BARE | holders::STOCK => holders::serve(&role).await,
        _ => change::serve(&role).await,
    }
}
