//! Writes to the plain key, `users:1`, beside those to the staged one.

use crate::contestants::{load, written};
use crate::groups::Bench;
use crate::node::Node;
use crate::rounds::{Pace, Summary};
use crate::shapes::Shape;

impl Bench {
    /// The same writes by either key, on one server.
    pub fn plain_keys(&self, pace: Pace) -> Vec<Summary> {
        const GROUP: &str = "Plain keys beside staged keys";
        if !self.wants(GROUP) {
            return Vec::new();
        }
        let node = Node::through(self.cluster.port);
        let mut contestants = Vec::new();
        for (shape, what, clients) in [
            (Shape::Whole, "whole rows", 1),
            (Shape::Whole, "whole rows", 64),
            (Shape::Whole, "whole rows", 256),
            (Shape::One, "one column", 64),
            (Shape::Counter, "counters", 64),
        ] {
            for (key, staged) in [("staged", true), ("plain", false)] {
                let name = format!("{key} key: {what}, {clients}");
                let made = written(&node, shape, staged, clients);
                contestants.push(load(name, self.watch(&node), made));
            }
        }
        self.run(GROUP, contestants, pace)
    }
}
