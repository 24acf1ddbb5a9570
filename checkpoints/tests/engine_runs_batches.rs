//! Many images on all cores give, in order, what each gives alone.

use std::sync::atomic::{AtomicUsize, Ordering};

use eqo_checkpoints::Error;
use eqo_checkpoints::engine::class_of;
use eqo_checkpoints::testing::{Spec, random_checkpoint, random_image};

#[test]
fn all_images_equal_single_runs_in_order_and_progress_counts_each_once() {
    let checkpoint = random_checkpoint(8, &Spec::every_kind());
    let engine = checkpoint.engine();
    let images: Vec<_> = (0..50).map(|seed| random_image(seed, &checkpoint)).collect();
    let calls = AtomicUsize::new(0);
    let count = |_, all| {
        assert_eq!(all, 50);
        calls.fetch_add(1, Ordering::Relaxed);
    };
    let found = engine.run_all(&images.concat(), &count).unwrap();
    let expected: Vec<_> = images.iter().map(|image| engine.run(image).unwrap()).collect();
    assert!(expected.iter().any(|logits| logits != &expected[0]), "the images must differ in their logits");
    assert_eq!(found, expected);
    assert_eq!(calls.into_inner(), 50);
}

#[test]
fn no_images_give_no_logits_and_a_partial_image_is_refused() {
    let engine = random_checkpoint(8, &Spec::every_kind()).engine();
    assert!(engine.run_all(&[], &|_, _| {}).unwrap().is_empty());
    assert!(matches!(engine.run_all(&[0; 217], &|_, _| {}), Err(Error::Image { found: 217, .. })));
}

#[test]
fn the_first_of_equal_logits_is_the_class() {
    assert_eq!([class_of(&[1, 5, 5, -9]), class_of(&[-3]), class_of(&[-7, -7])], [1, 0, 0]);
}
