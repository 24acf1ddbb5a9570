//! Which max poolings a sound graph may have, and how wide the rings of what they read must be.

use eqo_checkpoints::graph::{Graph, MaxPool, Op};
use eqo_checkpoints::testing::{Block, Spec, random_checkpoint};

/// An 8x8 image, a convolution, a max pooling (node 2), a direct convolution, a sum, a linear layer.
fn graph() -> Graph {
    let pool = Block::MaxPool { kernel: 2, stride: 2, padding: 0 };
    let spec = Spec::new([2, 8, 8], 3, vec![pool, Block::Direct { kernel: 1, stride: 1 }]);
    random_checkpoint(1, &spec).graph().graph().clone()
}

fn with(change: impl Fn(&mut MaxPool)) -> Graph {
    let mut graph = graph();
    let Op::MaxPool(pool) = &mut graph.nodes[2].op else { panic!("node 2 is the pooling") };
    change(pool);
    graph
}

#[test]
fn windows_that_are_too_large_or_hold_padding_only_are_refused_by_what_is_wrong() {
    type Change = fn(&mut MaxPool);
    let cases: [(&str, Change); 6] = [
        ("kernel", |pool| pool.kernel = 1),
        ("kernel", |pool| pool.kernel = 16),
        ("kernel", |pool| (pool.kernel, pool.padding) = (11, 1)),
        ("stride", |pool| pool.stride = 0),
        ("padding", |pool| (pool.kernel, pool.padding) = (3, 2)),
        ("input", |pool| pool.input = 0),
    ];
    for (what, change) in cases {
        let error = with(change).check().unwrap_err().to_string();
        assert!(error.contains(what) && error.contains("pool2"), "{error}");
    }
    let later = with(|pool| pool.input = 3).check().unwrap_err().to_string();
    assert!(later.contains("earlier"), "{later}");
}

#[test]
fn sums_and_accumulators_cannot_be_pooled() {
    let mut graph = graph();
    let sum = graph.nodes.iter().position(|node| matches!(node.op, Op::SumPool { .. })).unwrap();
    let mut pool = graph.nodes[2].clone();
    pool.name = "late".to_owned();
    pool.op = Op::MaxPool(MaxPool { input: sum, kernel: 2, stride: 1, padding: 1 });
    graph.nodes.insert(sum + 1, pool);
    let error = graph.check().unwrap_err().to_string();
    assert!(error.contains("late") && error.contains("an activation"), "{error}");
}

#[test]
fn what_is_pooled_has_as_many_bits_afterwards_and_one_more_in_its_ring() {
    let graph = graph().check().unwrap();
    let bits = graph.activation_bits(1).unwrap();
    assert_eq!(graph.activation_bits(2), Some(bits));
    assert_eq!(graph.value_range(2), graph.value_range(1));
    assert_eq!(graph.extension_bits(1), bits + 1);
    assert_eq!(graph.shape(2)[1..], [4, 4]);
}
