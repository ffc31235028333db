use dlbc_ops::prim::Transform;

use super::*;

fn values(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 1000) as f32 / 500.0 - 1.0).collect()
}

fn check(isa: &Isa, [m, k, n]: [usize; 3], transposed: [bool; 2]) {
    let (a, b) = (values(m * k, 1), values(k * n, 2));
    let matrix = |data, rows: usize, columns: usize, transposed: bool| {
        if transposed { Matrix::rows(data, rows).transposed() } else { Matrix::rows(data, columns) }
    };
    let (ma, mb) = (matrix(&a, m, k, transposed[0]), matrix(&b, k, n, transposed[1]));
    let mut y = values(m * n, 3);
    let before = y.clone();
    for add in [false, true] {
        product(isa, k, &mut Tile::whole(&mut y, m, n), Left::Strided(ma), Right::Strided(mb), add);
        for i in 0..m {
            for j in 0..n {
                let at = |x: Matrix<'_>, i: usize, j: usize| f64::from(x.data[i * x.row + j * x.column]);
                let sum: f64 = (0..k).map(|t| at(ma, i, t) * at(mb, t, j)).sum();
                let expected = if add { 2.0 * sum } else { sum };
                let size: f64 = (0..k).map(|t| (at(ma, i, t) * at(mb, t, j)).abs()).sum();
                let error = (f64::from(y[i * n + j]) - expected).abs();
                assert!(error <= 4e-6 * size.max(1e-3), "{m}x{k}x{n} {transposed:?} at {i}, {j}: {error:e}");
            }
        }
    }
    assert_ne!(y, before);
    if isa.lanes == Isa::best().lanes {
        let mut z = vec![0.0; m * n];
        Packed::with(ma, m, k, |packed| {
            for first in (0..m).step_by(2 * Packed::step()) {
                let rows = (2 * Packed::step()).min(m - first);
                let z = &mut z[first * n..][..rows * n];
                gemm(k, &mut Tile::whole(z, rows, n), Left::Packed(packed, first), mb);
            }
        });
        product(isa, k, &mut Tile::whole(&mut y, m, n), Left::Strided(ma), Right::Strided(mb), false);
        assert_eq!(y, z, "{m}x{k}x{n} {transposed:?}: rows packed before");
        PackedColumns::with(mb, k, n, |b| gemm(k, &mut Tile::whole(&mut z, m, n), ma, Right::Packed(b, 0)));
        assert_eq!(y, z, "{m}x{k}x{n} {transposed:?}: columns packed before");
        let mut packed = vec![0.0; Packed::size(m, k)];
        Packed::fill_with(m, &mut packed, |i, t| ma.data[i * ma.row + t * ma.column]);
        gemm(k, &mut Tile::whole(&mut z, m, n), Left::Packed(Packed::from_panels(&packed, m), 0), mb);
        assert_eq!(y, z, "{m}x{k}x{n} {transposed:?}: rows made");
    }
    // Rows of the right operand in reverse order, with gaps.
    let line = n.next_multiple_of(Lines::VECTOR) + 3;
    let offsets: Vec<usize> = (0..k).map(|t| (k - 1 - t) * line).collect();
    let mut data = vec![0.0; k * line];
    for t in 0..k {
        let to = &mut data[offsets[t]..][..n];
        to.iter_mut().enumerate().for_each(|(j, v)| *v = mb.data[t * mb.row + j * mb.column]);
    }
    let (mut y, mut z) = (vec![0.0; m * n], vec![0.0; m * n]);
    product(isa, k, &mut Tile::whole(&mut y, m, n), Left::Strided(ma), Right::Strided(mb), false);
    let lines = Right::Lines(Lines::new(&data, &offsets));
    product(isa, k, &mut Tile::whole(&mut z, m, n), Left::Strided(ma), lines, false);
    assert_eq!(y, z, "{m}x{k}x{n} {transposed:?}: lines");
}

#[test]
fn agrees_with_float64() {
    for isa in &Isa::available() {
        for m in [1, 2, 3, 7, 8, 9, 17, 600] {
            for k in [1, 5, 8, 19, 256, 300] {
                for n in [1, 15, 16, 17, 33, 48, 49, 65] {
                    if m < 600 || (k == 19 && n == 33) {
                        for transposed in [[false, false], [true, false], [false, true], [true, true]] {
                            check(isa, [m, k, n], transposed);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn shifted_lines_add_up() {
    let x = values(3 * LINE + 9, 8);
    let taps = [(0.5, 0), (-0.25, 7), (2.0, LINE + 9)].map(|(factor, shift)| Shifted { factor, shift });
    for isa in &Isa::available() {
        let mut y = values(2 * LINE, 9);
        for (add, before) in [(false, vec![0.0; y.len()]), (true, y.clone())] {
            isa.shifted_sums(&taps, &x, &mut y, add);
            for (i, y) in y.iter().enumerate() {
                let sum: f32 = taps.iter().map(|t| t.factor * x[t.shift + i]).sum();
                assert!((y - before[i] - sum).abs() < 1e-6, "{} lanes, {add}, at {i}: {y}", isa.lanes);
            }
            y.copy_from_slice(&values(2 * LINE, 9));
        }
    }
}

#[test]
fn the_bits_of_an_element_do_not_depend_on_its_position() {
    let (m, k, n) = (19, 300, 70);
    let (row, column) = (values(k, 4), values(k, 5));
    let a: Vec<f32> = row.repeat(m);
    let b: Vec<f32> = column.iter().flat_map(|v| std::iter::repeat_n(*v, n)).collect();
    let mut y = vec![0.0; m * n];
    let (a, b) = (Matrix::rows(&a, k), Matrix::rows(&b, n));
    gemm(k, &mut Tile::whole(&mut y, m, n), a, b);
    assert!(y.iter().all(|v| *v == y[0]), "{y:?}");
}

#[test]
fn transforms_are_applied_while_packing() {
    let (m, k, n) = (9, 20, 21);
    let (a, b) = (values(m * k, 6), values(k * n, 7));
    let apply = |f, v: &[f32]| v.iter().map(|v| crate::weights::transformed(f, *v)).collect::<Vec<_>>();
    for transform in [Transform::Abs, Transform::Pos, Transform::Neg] {
        let (a_values, b_values) = (apply(transform, &a), apply(transform, &b));
        let (mut y, mut z) = (vec![0.0; m * n], vec![0.0; m * n]);
        gemm(k, &mut Tile::whole(&mut y, m, n), Matrix::rows(&a_values, k), Matrix::rows(&b_values, n));
        let (a, b) =
            (Matrix { transform, ..Matrix::rows(&a, k) }, Matrix { transform, ..Matrix::rows(&b, n) });
        gemm(k, &mut Tile::whole(&mut z, m, n), a, b);
        assert_eq!(y, z);
    }
}

#[test]
fn no_terms_make_zeros() {
    let mut y = vec![1.0; 6];
    let empty = Matrix::rows(&[], 0);
    gemm(0, &mut Tile::whole(&mut y, 2, 3), empty, empty);
    assert_eq!(y, [0.0; 6]);
}
