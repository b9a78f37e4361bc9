//! The place that a connection has on its node, as long as its task lives.

use std::sync::Arc;

use crate::delivery::mailbox::{Farewell, Mailbox};
use crate::edge::ws::sockets::Sockets;

/// Takes the connection out of the registry, and out of what features keep of it, however its task ends.
pub struct Registration<'a> {
    pub sockets: &'a Sockets,
    pub mailbox: &'a Arc<Mailbox>,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.sockets.parts.registry.remove(self.mailbox);
        // Nobody collects any more: whoever still has something for it must not keep that.
        self.mailbox.close(Farewell::Leaving);
        self.sockets.desks.end(self.mailbox);
    }
}
