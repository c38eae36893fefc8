//! What peers do in a mesh, and who gets a channel to whom.

/// What a peer does in a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sends.
    Producer,
    /// It receives.
    Consumer,
    /// It sends and receives.
    Both,
}

impl Role {
    pub(super) fn is_producer(self) -> bool {
        self != Role::Consumer
    }

    pub(super) fn is_consumer(self) -> bool {
        self != Role::Producer
    }
}

/// Which peers of a mesh get a channel between them.
pub trait MeshAdapter: Clone {
    /// Whether everyone sends and receives.
    fn is_full(&self) -> bool;

    /// Whether there is a channel from a peer with the first role to another with the second.
    fn connect(&self, from: &Role, to: &Role) -> bool;
}

/// Connects everyone with everyone; see [`MeshBuilder::full`](super::MeshBuilder::full).
#[derive(Clone, Debug)]
pub struct Full;

impl MeshAdapter for Full {
    fn is_full(&self) -> bool {
        true
    }

    fn connect(&self, _from: &Role, _to: &Role) -> bool {
        true
    }
}

/// Connects producers with consumers; see [`MeshBuilder::partial`](super::MeshBuilder::partial).
#[derive(Clone, Debug)]
pub struct Partial;

impl MeshAdapter for Partial {
    fn is_full(&self) -> bool {
        false
    }

    fn connect(&self, from: &Role, to: &Role) -> bool {
        from.is_producer() && to.is_consumer()
    }
}
