"""Times training steps in a process of their own and prints images per second and peak memory."""
import argparse
import json
import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

import torch

WARM_UP = 3


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--arch", choices=("resnet20", "resnet32"), default="resnet20")
    parser.add_argument("--batch", type=int, default=64, help="images a step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help=f"measured steps; {WARM_UP} more warm up")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


def sgd(net, rate):
    return torch.optim.SGD(net.parameters(), rate, momentum=0.9, weight_decay=1e-4, nesterov=True)


def time_steps(make_step, options, name):
    """`make_step(options, name)` returns a function that does one step and returns its loss."""
    torch.manual_seed(1)
    torch.set_num_threads(options.threads)
    step = make_step(options, name)
    losses = [step() for _ in range(WARM_UP)]
    seconds = []
    for _ in range(options.steps):
        start = time.perf_counter()
        losses.append(step())
        seconds.append(time.perf_counter() - start)
    assert all(torch.isfinite(loss) for loss in losses), "training diverged: the timing would mean nothing"
    return {
        "name": name,
        "images_per_second": options.batch * len(seconds) / sum(seconds),
        "median": options.batch / statistics.median(seconds),
        "fastest": options.batch / min(seconds),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def report(make_step, names, options):
    """Each name in a fresh process, so that its peak memory is its own."""
    rows = []
    for name in names:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            rows.append(process.submit(time_steps, make_step, options, name).result())
        if not options.json:
            print("{name:<24} mean {images_per_second:7.1f}  median {median:7.1f}  fastest {fastest:7.1f} images/s  "
                  "peak {peak_mib:6.0f} MiB".format(**rows[-1]), flush=True)
    if options.json:
        print(json.dumps({"torch": torch.__version__, **vars(options), "rows": rows}))
