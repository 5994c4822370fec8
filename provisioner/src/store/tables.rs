//! [`Tables`]: the state in memory with its indexes; [`Change`]: what is to be written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use reveille_config::MacAddr;
use uuid::Uuid;

use super::Entry;
use crate::proto::node::{Event, Machine, Millis, Node, Note, Port, Settings, step};

/// Nodes and ports, in the order they were made, with their indexes.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    nodes: BTreeMap<u64, Arc<Node>>,
    nodes_by_uuid: HashMap<Uuid, u64>,
    nodes_by_name: HashMap<String, u64>,
    ports: BTreeMap<u64, Arc<Port>>,
    ports_by_uuid: HashMap<Uuid, u64>,
    ports_by_mac: HashMap<MacAddr, u64>,
    ports_by_node: HashMap<Uuid, BTreeSet<u64>>,
    next_sequence: u64,
}

/// One thing to write.
#[derive(Debug, Clone)]
pub(super) enum Write {
    PutNode(Arc<Node>),
    DeleteNode(Arc<Node>),
    PutPort(Arc<Port>),
    DeletePort(Arc<Port>),
}

/// What is to be written, all or nothing.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub(super) writes: Vec<Write>,
    pub(super) notes: Vec<(Uuid, Note, Millis)>,
    pub(super) is_volatile: bool,
}

impl Change {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The result of a step of the life cycle; nothing at all where it changed nothing.
    pub(super) fn step(before: &Node, after: Arc<Node>, notes: Vec<Note>, is_volatile: bool, now: Millis) -> Self {
        if *before == *after && notes.is_empty() {
            return Self::default();
        }
        let uuid = after.uuid;
        let notes = notes.into_iter().map(|note| (uuid, note, now)).collect();
        Self { writes: vec![Write::PutNode(after)], notes, is_volatile }
    }

    /// What an event does to a node; gives back the node as it will be.
    pub fn of_event(
        tables: &Tables,
        node: &Arc<Node>,
        event: Event,
        now: Millis,
        settings: &Settings,
    ) -> (Self, Arc<Node>) {
        let ports = tables.ports_of(node.uuid);
        let step = step(Machine { node, ports: &ports }, event, now, settings);
        let after = Arc::new(step.node);
        (Self::step(node, Arc::clone(&after), step.notes, step.is_volatile, now), after)
    }

    /// Writes a node.
    pub fn put_node(&mut self, node: Arc<Node>) {
        self.writes.push(Write::PutNode(node));
    }

    /// Deletes a node, its ports and its history.
    pub fn delete_node(&mut self, tables: &Tables, node: &Arc<Node>) {
        for id in tables.ports_by_node.get(&node.uuid).into_iter().flatten() {
            if let Some(port) = tables.ports.get(id) {
                self.writes.push(Write::DeletePort(Arc::clone(port)));
            }
        }
        self.writes.push(Write::DeleteNode(Arc::clone(node)));
    }

    /// Writes a port.
    pub fn put_port(&mut self, port: Arc<Port>) {
        self.writes.push(Write::PutPort(port));
    }

    /// Deletes a port.
    pub fn delete_port(&mut self, port: &Arc<Port>) {
        self.writes.push(Write::DeletePort(Arc::clone(port)));
    }

    /// Adds a line to a node's history.
    pub fn note(&mut self, node: Uuid, note: Note, now: Millis) {
        self.notes.push((node, note, now));
    }
}

impl Tables {
    pub(super) fn new(next_sequence: u64) -> Self {
        Self { next_sequence, ..Self::default() }
    }

    /// All nodes, oldest first.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// How many ports a node has.
    pub fn port_count(&self, node: Uuid) -> usize {
        self.ports_by_node.get(&node).map_or(0, BTreeSet::len)
    }

    /// The nodes made after the one with this id, oldest first.
    pub fn nodes_after(&self, id: u64) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.range(id + 1..).map(|(_, node)| node)
    }

    /// A node.
    pub fn node(&self, uuid: Uuid) -> Option<&Arc<Node>> {
        self.nodes.get(self.nodes_by_uuid.get(&uuid)?)
    }

    /// A node by its name.
    pub fn node_by_name(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(self.nodes_by_name.get(name)?)
    }

    /// A node by its UUID or its name.
    pub fn find_node(&self, uuid_or_name: &str) -> Option<&Arc<Node>> {
        match uuid_or_name.parse() {
            Ok(uuid) => self.node(uuid),
            Err(_) => self.node_by_name(uuid_or_name),
        }
    }

    /// All ports, oldest first.
    pub fn ports(&self) -> impl Iterator<Item = &Arc<Port>> {
        self.ports.values()
    }

    /// A port.
    pub fn port(&self, uuid: Uuid) -> Option<&Arc<Port>> {
        self.ports.get(self.ports_by_uuid.get(&uuid)?)
    }

    /// A port by its hardware address.
    pub fn port_by_mac(&self, mac: MacAddr) -> Option<&Arc<Port>> {
        self.ports.get(self.ports_by_mac.get(&mac)?)
    }

    /// A node's ports, oldest first.
    pub fn ports_of(&self, node: Uuid) -> Vec<Port> {
        let ids = self.ports_by_node.get(&node).into_iter().flatten();
        ids.filter_map(|id| self.ports.get(id)).map(|port| Port::clone(port)).collect()
    }

    /// The id of the next node to be made.
    pub fn next_node_id(&self) -> u64 {
        self.nodes.last_key_value().map_or(1, |(id, _)| id + 1)
    }

    /// The id of the next port to be made.
    pub fn next_port_id(&self) -> u64 {
        self.ports.last_key_value().map_or(1, |(id, _)| id + 1)
    }

    /// The sequence of the next entry of the history.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Makes the entries of the history that these notes become.
    pub(super) fn entries(&mut self, notes: Vec<(Uuid, Note, Millis)>) -> Vec<Entry> {
        let entry = |(node, note, at): (Uuid, Note, Millis)| {
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            let first_port = self.ports_by_node.get(&node).and_then(|ids| self.ports.get(ids.first()?));
            Entry {
                sequence,
                uuid: entry_uuid(sequence, at),
                node,
                mac: first_port.map(|port| port.address),
                at,
                kind: note.kind.to_owned(),
                severity: note.severity,
                text: note.text,
            }
        };
        notes.into_iter().map(entry).collect()
    }

    pub(super) fn follow(&mut self, next_sequence: u64) {
        self.next_sequence = next_sequence;
    }

    pub(super) fn apply(&mut self, write: &Write) {
        match write {
            Write::PutNode(node) => {
                let before = self.nodes.insert(node.id, Arc::clone(node));
                if let Some(name) = before.as_ref().and_then(|before| before.name.as_ref()) {
                    self.nodes_by_name.remove(name);
                }
                self.nodes_by_uuid.insert(node.uuid, node.id);
                if let Some(name) = &node.name {
                    self.nodes_by_name.insert(name.clone(), node.id);
                }
            }
            Write::DeleteNode(node) => {
                self.nodes.remove(&node.id);
                self.nodes_by_uuid.remove(&node.uuid);
                if let Some(name) = &node.name {
                    self.nodes_by_name.remove(name);
                }
            }
            Write::PutPort(port) => {
                if let Some(before) = self.ports.insert(port.id, Arc::clone(port)) {
                    self.forget_port(&before);
                }
                self.ports_by_uuid.insert(port.uuid, port.id);
                self.ports_by_mac.insert(port.address, port.id);
                self.ports_by_node.entry(port.node_uuid).or_default().insert(port.id);
            }
            Write::DeletePort(port) => {
                self.ports.remove(&port.id);
                self.forget_port(port);
            }
        }
    }

    fn forget_port(&mut self, port: &Port) {
        self.ports_by_uuid.remove(&port.uuid);
        self.ports_by_mac.remove(&port.address);
        if let Some(ids) = self.ports_by_node.get_mut(&port.node_uuid) {
            ids.remove(&port.id);
            if ids.is_empty() {
                self.ports_by_node.remove(&port.node_uuid);
            }
        }
    }
}

/// An identity for an entry that needs no random numbers: unique because the sequence is.
fn entry_uuid(sequence: u64, at: Millis) -> Uuid {
    Uuid::from_u64_pair(at.0, sequence)
}
