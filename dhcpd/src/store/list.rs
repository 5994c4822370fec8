//! Doubly linked lists whose links lie inside the nodes: eight octets for each node, no allocation, removal from the middle in constant time.
//!
//! The lists are circular through heads that share the numbers of the nodes, so that a node can be taken out without knowing which list it is in.
//! Invariant: a node is in at most one list; one in none has the link [`Link::NONE`].

/// Where a node stands in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    prev: u32,
    next: u32,
}

impl Link {
    /// In no list.
    pub(super) const NONE: Self = Self { prev: u32::MAX, next: u32::MAX };

    /// Whether the node is in a list.
    pub(super) fn is_linked(self) -> bool {
        self != Self::NONE
    }
}

/// What holds the nodes; their numbers are below [`NODES_MAX`].
pub(super) trait Nodes {
    /// The link of a node.
    fn link(&self, node: u32) -> Link;
    /// The link of a node, to be changed.
    fn link_mut(&mut self, node: u32) -> &mut Link;
}

/// From here on numbers mean heads.
pub(super) const NODES_MAX: u32 = 1 << 31;

/// The heads of some lists.
#[derive(Debug)]
pub(super) struct Lists {
    heads: Vec<Link>,
}

impl Lists {
    /// So many empty lists.
    pub(super) fn new(count: usize) -> Self {
        let heads = (0..count).map(|list| NODES_MAX + list as u32);
        Self { heads: heads.map(|head| Link { prev: head, next: head }).collect() }
    }

    /// Puts a node that is in no list at the end of `list`.
    pub(super) fn push_back(&mut self, nodes: &mut impl Nodes, list: usize, node: u32) {
        debug_assert!(!nodes.link(node).is_linked());
        let head = NODES_MAX + list as u32;
        let last = self.heads[list].prev;
        *nodes.link_mut(node) = Link { prev: last, next: head };
        self.at(nodes, last).next = node;
        self.heads[list].prev = node;
    }

    /// Takes a node out of whichever of these lists it is in, if it is in one.
    pub(super) fn remove(&mut self, nodes: &mut impl Nodes, node: u32) {
        let link = std::mem::replace(nodes.link_mut(node), Link::NONE);
        if link.is_linked() {
            self.at(nodes, link.prev).next = link.next;
            self.at(nodes, link.next).prev = link.prev;
        }
    }

    /// The first node of a list.
    pub(super) fn first(&self, list: usize) -> Option<u32> {
        Some(self.heads[list].next).filter(|&node| node < NODES_MAX)
    }

    /// The node after `node`, which is in a list.
    pub(super) fn after(&self, nodes: &impl Nodes, node: u32) -> Option<u32> {
        Some(nodes.link(node).next).filter(|&node| node < NODES_MAX)
    }

    fn at<'a>(&'a mut self, nodes: &'a mut impl Nodes, at: u32) -> &'a mut Link {
        match at.checked_sub(NODES_MAX) {
            Some(list) => &mut self.heads[list as usize],
            None => nodes.link_mut(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain(Vec<Link>);

    impl Nodes for Plain {
        fn link(&self, node: u32) -> Link {
            self.0[node as usize]
        }
        fn link_mut(&mut self, node: u32) -> &mut Link {
            &mut self.0[node as usize]
        }
    }

    fn walk(lists: &Lists, nodes: &Plain, list: usize) -> Vec<u32> {
        std::iter::successors(lists.first(list), |&node| lists.after(nodes, node)).collect()
    }

    #[test]
    fn nodes_leave_from_anywhere_and_the_order_stays() {
        let mut nodes = Plain(vec![Link::NONE; 6]);
        let mut lists = Lists::new(2);
        (0..5).for_each(|node| lists.push_back(&mut nodes, (node == 3).into(), node));
        assert_eq!((walk(&lists, &nodes, 0), walk(&lists, &nodes, 1)), (vec![0, 1, 2, 4], vec![3]));
        for (removed, left) in [(1, vec![0, 2, 4]), (5, vec![0, 2, 4]), (0, vec![2, 4]), (4, vec![2]), (2, vec![])] {
            lists.remove(&mut nodes, removed);
            assert_eq!(walk(&lists, &nodes, 0), left, "without {removed}");
        }
        lists.push_back(&mut nodes, 1, 0);
        assert_eq!(walk(&lists, &nodes, 1), [3, 0]);
    }
}
