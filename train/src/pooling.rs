//! Max pooling by tensor operations that every device has, and of derivatives beside their values.

use burn::tensor::{Tensor, s};

use crate::kernels::Window;
use crate::ops;

/// The largest value of each window of `x` `[channels, height, width, images]`; by the kernels where they run.
pub(crate) fn max_pool(x: Tensor<4>, window: Window) -> Tensor<4> {
    if ops::runs_here(&x.device()) {
        return ops::max_pool(x, window);
    }
    Largest::of(&x, window).select(x)
}

/// Where the largest value of each window is: the first one, row by row.
pub(crate) struct Largest {
    window: Window,
    /// For each position of a window, 1 where it holds the largest value; no gradient flows through them.
    chosen: Vec<Tensor<4>>,
}

impl Largest {
    pub(crate) fn of(x: &Tensor<4>, window: Window) -> Self {
        let values: Vec<Tensor<4>> = positions(x.clone().detach(), window).collect();
        let largest = values.iter().cloned().reduce(Tensor::max_pair);
        let mut chosen = Vec::with_capacity(values.len());
        if let Some(largest) = largest {
            let mut open = largest.ones_like();
            for value in values {
                let here = value.equal(largest.clone()).float() * open.clone();
                open = open - here.clone();
                chosen.push(here);
            }
        }
        Self { window, chosen }
    }

    /// What `x`, of the same shape, has at these places: a linear function of it.
    pub(crate) fn select(&self, x: Tensor<4>) -> Tensor<4> {
        let [channels, height, width, images] = x.dims();
        let shape = [channels, self.window.outputs(height), self.window.outputs(width), images];
        let zero = Tensor::zeros(shape, &x.device());
        positions(x, self.window).zip(&self.chosen).fold(zero, |sum, (x, here)| sum + x * here.clone())
    }
}

/// `x` under each position of the windows, row by row, `[channels, h', w', images]`; the padding is less than any value but
/// finite, so that it times zero is zero.
fn positions(x: Tensor<4>, window: Window) -> impl Iterator<Item = Tensor<4>> {
    let Window { kernel, stride, padding } = window;
    let [_, height, width, _] = x.dims();
    let padded = if padding > 0 { pad(x, padding) } else { x };
    let [rows, columns] = [height, width].map(|side| (window.outputs(side) - 1) * stride + 1);
    (0..kernel * kernel).map(move |at| {
        let (y, x) = (at / kernel, at % kernel);
        let (rows, columns) = (y as i32..(y + rows) as i32, x as i32..(x + columns) as i32);
        padded.clone().slice(s![.., rows;stride as i32, columns;stride as i32, ..])
    })
}

fn pad(x: Tensor<4>, by: usize) -> Tensor<4> {
    let device = x.device();
    let border = |[channels, height, width, images]: [usize; 4]| {
        Tensor::<4>::full([channels, height, width, images], f32::MIN, &device)
    };
    let [channels, height, width, images] = x.dims();
    let side = border([channels, height, by, images]);
    let wide = Tensor::cat(vec![side.clone(), x, side], 2);
    let above = border([channels, by, width + 2 * by, images]);
    Tensor::cat(vec![above.clone(), wide, above], 1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    const WINDOWS: [([usize; 3], [usize; 2]); 5] = [
        ([2, 2, 0], [6, 4]),
        ([2, 2, 0], [7, 5]),
        ([3, 2, 1], [8, 7]),
        ([3, 1, 1], [4, 1]),
        ([5, 3, 2], [6, 9]),
    ];
    const CHANNELS: usize = 2;
    const IMAGES: usize = 19;

    fn window([kernel, stride, padding]: [usize; 3]) -> Window {
        Window { kernel, stride, padding }
    }

    fn tensor(values: Vec<f32>, [height, width]: [usize; 2]) -> Tensor<4> {
        let data = TensorData::new(values, [CHANNELS, height, width, IMAGES]);
        Tensor::from_data(data, &Device::flex().autodiff())
    }

    fn host(tensor: Tensor<4>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    /// The definition.
    fn largest(x: &[f32], [height, width]: [usize; 2], window: Window) -> Vec<f32> {
        let [rows, columns] = [height, width].map(|side| window.outputs(side));
        let value = |at: usize| {
            let (image, column, row) = (at % IMAGES, at / IMAGES % columns, at / IMAGES / columns % rows);
            let channel = at / IMAGES / columns / rows;
            let inside = |output: usize, side: usize| {
                (0..window.kernel)
                    .filter_map(move |k| (output * window.stride + k).checked_sub(window.padding))
                    .filter(move |&at| at < side)
            };
            let under = inside(row, height).flat_map(|y| inside(column, width).map(move |x| (y, x)));
            under
                .map(|(y, column)| x[((channel * height + y) * width + column) * IMAGES + image])
                .fold(f32::NEG_INFINITY, f32::max)
        };
        (0..CHANNELS * rows * columns * IMAGES).map(value).collect()
    }

    /// Every value another, half of them negative; the least distance is 1.
    fn distinct(count: usize) -> Vec<f32> {
        let step = (count / 3..)
            .find(|step| (2..count).all(|d| !count.is_multiple_of(d) || !step.is_multiple_of(d)))
            .unwrap();
        (0..count).map(|at| (at * step % count) as f32 - (count / 2) as f32).collect()
    }

    /// Both ways.
    fn ways() -> [fn(Tensor<4>, Window) -> Tensor<4>; 2] {
        [max_pool, |x, window| Largest::of(&x, window).select(x)]
    }

    #[test]
    fn it_is_the_largest_of_every_window_and_padding_never_wins() {
        for (sizes, sides) in WINDOWS {
            let count = CHANNELS * sides[0] * sides[1] * IMAGES;
            let negative: Vec<f32> = distinct(count).into_iter().map(|x| x - 1e4).collect();
            let ties: Vec<f32> = (0..count).map(|at| (at * 31 % 3) as f32).collect();
            for x in [distinct(count), negative, ties] {
                let want = largest(&x, sides, window(sizes));
                for pool in ways() {
                    assert_eq!(host(pool(tensor(x.clone(), sides), window(sizes))), want, "{sizes:?}");
                }
            }
        }
    }

    /// Where values are distinct the loss is linear around them, so differences are exact.
    #[test]
    fn its_gradient_equals_central_differences() {
        for (sizes, sides) in WINDOWS {
            let window = window(sizes);
            let x = distinct(CHANNELS * sides[0] * sides[1] * IMAGES);
            let weight = |at: usize| (at % 7) as f32 - 2.0;
            let loss = |x: &[f32]| -> f64 {
                let y = largest(x, sides, window);
                y.iter().enumerate().map(|(at, y)| f64::from(*y) * f64::from(weight(at))).sum()
            };
            for pool in ways() {
                let input = tensor(x.clone(), sides).require_grad();
                let y = pool(input.clone(), window);
                let weights = (0..host(y.clone()).len()).map(weight).collect();
                let weights = Tensor::from_data(TensorData::new::<f32, _>(weights, y.dims()), &y.device());
                let gradient = host(input.grad(&(y * weights).sum().backward()).unwrap());
                for at in (0..x.len()).step_by(11) {
                    let moved = |by: f32| {
                        let mut moved = x.clone();
                        moved[at] += by;
                        loss(&moved)
                    };
                    assert_eq!(f64::from(gradient[at]), 2.0 * (moved(0.25) - moved(-0.25)), "{sizes:?} {at}");
                }
            }
        }
    }

    #[test]
    fn of_equal_values_the_first_one_gets_the_gradient() {
        for pool in ways() {
            let input = tensor(vec![1.0; CHANNELS * 4 * IMAGES], [2, 2]).require_grad();
            let gradients = pool(input.clone(), window([2, 2, 0])).sum().backward();
            let gradient = host(input.grad(&gradients).unwrap());
            let first = |at: usize| f32::from(u8::from((at / IMAGES).is_multiple_of(4)));
            assert!(gradient.iter().enumerate().all(|(at, &g)| g == first(at)));
        }
    }

    #[test]
    fn a_value_that_is_not_a_number_is_not_hidden() {
        for place in 0..4 {
            let values = (0..CHANNELS * 4 * IMAGES).map(|at| match at / IMAGES % 4 == place {
                true => f32::NAN,
                false => at as f32,
            });
            let y = max_pool(tensor(values.collect(), [2, 2]), window([2, 2, 0]));
            assert!(host(y).iter().all(|y| y.is_nan()));
        }
    }
}
