//! Time of one image through the integer engine: ResNet-20 on CIFAR sizes with random W4A6 weights.

use criterion::{Criterion, criterion_group, criterion_main};
use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::engine::Engine;
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::testing::{random_arch, random_image};

fn resnet20(criterion: &mut Criterion) {
    let arch = Arch::by_name("cifar-resnet20", 10).expect("a known name");
    let checkpoint = random_arch(1, &arch, &BitPlan::uniform(&arch, 4, 6));
    let image = random_image(2, &checkpoint);
    let engine = checkpoint.engine();
    let prepare = || Engine::new(checkpoint.graph().clone(), checkpoint.weights());
    criterion.bench_function("resnet20/prove_and_compile", |bencher| bencher.iter(prepare));
    criterion.bench_function("resnet20/image", |bencher| bencher.iter(|| engine.run(&image)));
}

criterion_group!(benches, resnet20);
criterion_main!(benches);
