//! Float32 loops of the kernels that stand on the hot path.

use dlbc_ops::prim::Window;

/// `r / z`, 0 where `z` is 0.
pub fn guarded_div(r: f32, z: f32) -> f32 {
    if z == 0.0 { 0.0 } else { r / z }
}

/// Elementwise over operands of one shape.
pub fn zip(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()
}

/// Elementwise with broadcasting.
pub fn broadcast(
    a: &[f32],
    a_dims: &[usize],
    b: &[f32],
    b_dims: &[usize],
    dims: &[usize],
    f: impl Fn(f32, f32) -> f32,
) -> Vec<f32> {
    let rank = dims.len();
    let strides = |own: &[usize]| {
        let mut strides = vec![0usize; rank];
        let mut step = 1;
        for i in (0..own.len()).rev() {
            strides[i + rank - own.len()] = if own[i] == 1 { 0 } else { step };
            step *= own[i];
        }
        strides
    };
    let (sa, sb) = (strides(a_dims), strides(b_dims));
    let (inner, outer) = match dims.split_last() {
        Some((inner, outer)) => (*inner, outer),
        None => return vec![f(a[0], b[0])],
    };
    let mut y = Vec::with_capacity(dims.iter().product());
    let mut index = vec![0usize; outer.len()];
    for _ in 0..outer.iter().product::<usize>() {
        let at = |s: &[usize]| index.iter().zip(s).map(|(i, s)| i * s).sum::<usize>();
        let (mut pa, mut pb) = (at(&sa), at(&sb));
        for _ in 0..inner {
            y.push(f(a[pa], b[pb]));
            pa += sa[rank - 1];
            pb += sb[rank - 1];
        }
        advance(&mut index, outer);
    }
    y
}

fn advance(index: &mut [usize], dims: &[usize]) {
    for i in (0..dims.len()).rev() {
        index[i] += 1;
        if index[i] < dims[i] {
            return;
        }
        index[i] = 0;
    }
}

/// Calls `visit(tap, output row, input row, first, last, input column of first)` for every tap and every row of the last
/// spatial axis where the tap falls inside the input; positions `first..last` of the row are inside.
fn rows(
    w: &Window,
    output: &[usize],
    input: &[usize],
    mut visit: impl FnMut(usize, usize, usize, usize, usize, usize),
) {
    let rank = w.rank();
    let last = rank - 1;
    let (outer_out, outer_in) = (&output[..last], &input[..last]);
    let taps: usize = w.kernel.iter().product();
    let mut k = vec![0usize; rank];
    for tap in 0..taps {
        // Columns: p·stride + offset - before in 0..input.
        let offset = (k[last] * w.dilations[last]) as i64 - w.before[last] as i64;
        let stride = w.strides[last] as i64;
        let first = if offset < 0 { (-offset + stride - 1) / stride } else { 0 };
        let end = (input[last] as i64 - offset + stride - 1).div_euclid(stride).clamp(0, output[last] as i64);
        if first < end {
            let mut o = vec![0usize; last];
            for row in 0..outer_out.iter().product::<usize>() {
                let mut from = Some(0usize);
                for i in 0..last {
                    let p = (o[i] * w.strides[i] + k[i] * w.dilations[i]).checked_sub(w.before[i]);
                    from = from.zip(p.filter(|p| *p < outer_in[i])).map(|(f, p)| f * outer_in[i] + p);
                }
                if let Some(from) = from {
                    visit(tap, row, from, first as usize, end as usize, (first * stride + offset) as usize);
                }
                advance(&mut o, outer_out);
            }
        }
        advance(&mut k, &w.kernel);
    }
}

/// `[n, g, c/g·taps, positions]` → `[n, c, to…]`.
pub fn fold(w: &Window, columns: &[f32], from: &[usize], to: &[usize]) -> Vec<f32> {
    let (output, input) = (from, &to[2..]);
    let taps: usize = w.kernel.iter().product();
    let (no, ni): (usize, usize) = (output.iter().product(), input.iter().product());
    let (wo, wi) = (output[w.rank() - 1], input[w.rank() - 1]);
    let stride = w.strides[w.rank() - 1];
    let planes = to[0] * to[1];
    let mut y = vec![0.0f32; planes * ni];
    for plane in 0..planes {
        let source = &columns[plane * taps * no..(plane + 1) * taps * no];
        let target = &mut y[plane * ni..(plane + 1) * ni];
        rows(w, output, input, |tap, row, from, first, end, column| {
            let s = &source[tap * no + row * wo..][first..end];
            let t = &mut target[from * wi + column..];
            for (i, v) in s.iter().enumerate() {
                t[i * stride] += v;
            }
        });
    }
    y
}

/// The adjoint of a window sum.
pub fn window_sum_transpose(w: &Window, s: &[f32], dims: &[usize], to: &[usize]) -> Vec<f32> {
    let (output, input) = (&dims[2..], &to[2..]);
    let (no, ni): (usize, usize) = (output.iter().product(), input.iter().product());
    let (wo, wi) = (output[w.rank() - 1], input[w.rank() - 1]);
    let stride = w.strides[w.rank() - 1];
    let mut y = vec![0.0f32; to.iter().product()];
    for plane in 0..dims[0] * dims[1] {
        let source = &s[plane * no..(plane + 1) * no];
        let target = &mut y[plane * ni..(plane + 1) * ni];
        rows(w, output, input, |_, row, from, first, end, column| {
            let s = &source[row * wo..][first..end];
            let t = &mut target[from * wi + column..];
            for (i, v) in s.iter().enumerate() {
                t[i * stride] += v;
            }
        });
    }
    y
}

/// Shares `r` equally among the positions of its window where `x` equals the maximum `y`.
pub fn max_share(
    w: &Window,
    x: &[f32],
    x_dims: &[usize],
    y: &[f32],
    y_dims: &[usize],
    r: &[f32],
) -> Vec<f32> {
    let (output, input) = (&y_dims[2..], &x_dims[2..]);
    let (no, ni): (usize, usize) = (output.iter().product(), input.iter().product());
    let (wo, wi) = (output[w.rank() - 1], input[w.rank() - 1]);
    let stride = w.strides[w.rank() - 1];
    let mut share = vec![0.0f32; x.len()];
    let mut ties = vec![0.0f32; no];
    for plane in 0..x_dims[0] * x_dims[1] {
        let (x, y, r) = (&x[plane * ni..][..ni], &y[plane * no..][..no], &r[plane * no..][..no]);
        ties.fill(0.0);
        rows(w, output, input, |_, row, from, first, end, column| {
            let x = &x[from * wi + column..];
            for i in 0..end - first {
                let o = row * wo + first + i;
                if x[i * stride] == y[o] {
                    ties[o] += 1.0;
                }
            }
        });
        for (t, r) in ties.iter_mut().zip(r) {
            *t = if *t == 0.0 { 0.0 } else { r / *t };
        }
        let target = &mut share[plane * ni..(plane + 1) * ni];
        rows(w, output, input, |_, row, from, first, end, column| {
            let at = from * wi + column;
            for i in 0..end - first {
                let o = row * wo + first + i;
                if x[at + i * stride] == y[o] {
                    target[at + i * stride] += ties[o];
                }
            }
        });
    }
    share
}

/// Zeros of `to` with `x` in the slice `start, start + step, …` of an axis.
pub fn slice_transpose(
    x: &[f32],
    dims: &[usize],
    to: &[usize],
    axis: usize,
    start: i64,
    step: i64,
) -> Vec<f32> {
    let inner: usize = dims[axis + 1..].iter().product();
    let outer: usize = dims[..axis].iter().product();
    let mut y = vec![0.0f32; to.iter().product()];
    for o in 0..outer {
        for i in 0..dims[axis] {
            let at = (start + i as i64 * step) as usize;
            let (from, into) = ((o * dims[axis] + i) * inner, (o * to[axis] + at) * inner);
            y[into..into + inner].copy_from_slice(&x[from..from + inner]);
        }
    }
    y
}
