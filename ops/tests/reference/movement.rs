use dlbc_ops::prim::{self, PadMode, Prim, Reduction};
use dlbc_ops::tensor::{Array, Bindings, DType, Dim, Shape, Tensor};
use proptest::prelude::*;

use super::{assert_close, bools, error, eval, floats, indices, inner, ints, known, random, row};

fn slice(axis: usize, start: i64, len: i64, step: i64) -> Prim {
    Prim::Slice(prim::Slice { axis, start: Dim::known(start), len: Dim::known(len), step })
}

#[test]
fn movements_have_hand_computed_values() {
    let x = ints(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let to = |dims: &[usize]| Shape(known(dims));
    assert_eq!(
        eval(Prim::Reshape(prim::Reshape { to: to(&[3, 2]) }), &[&x]),
        ints(&[3, 2], &[1, 2, 3, 4, 5, 6])
    );
    assert_eq!(
        eval(Prim::Transpose(prim::Transpose { perm: vec![1, 0] }), &[&x]),
        ints(&[3, 2], &[1, 4, 2, 5, 3, 6])
    );
    assert_eq!(eval(slice(1, 2, 2, -2), &[&x]), ints(&[2, 2], &[3, 1, 6, 4]));
    assert_eq!(eval(slice(0, 1, 1, 1), &[&x]), ints(&[1, 3], &[4, 5, 6]));
    assert_eq!(eval(slice(0, 9, 0, 1), &[&x]), ints(&[0, 3], &[]));
    let back = Prim::SliceTranspose(prim::SliceTranspose {
        axis: 0,
        start: Dim::known(2),
        to: Dim::known(4),
        step: -2,
    });
    assert_eq!(eval(back, &[&x]), ints(&[4, 3], &[4, 5, 6, 0, 0, 0, 1, 2, 3, 0, 0, 0]));
    let y = ints(&[2, 1], &[7, 8]);
    assert_eq!(
        eval(Prim::Concat(prim::Concat { axis: 1 }), &[&x, &y]),
        ints(&[2, 4], &[1, 2, 3, 7, 4, 5, 6, 8])
    );
    assert_eq!(
        eval(Prim::Expand(prim::Expand { to: to(&[2, 2, 2]) }), &[&y]),
        ints(&[2, 2, 2], &[7, 7, 8, 8, 7, 7, 8, 8])
    );
    let flags = bools(&[2], &[true, false]);
    assert_eq!(
        eval(Prim::Concat(prim::Concat { axis: 0 }), &[&flags, &flags]),
        bools(&[4], &[true, false, true, false])
    );
    assert_eq!(eval(slice(0, 1, 2, -1), &[&flags]), bools(&[2], &[false, true]));
    assert!(error(Prim::Concat(prim::Concat { axis: 0 }), &[&flags, &row(&[1.0])]).contains("element type"));
}

#[test]
fn pads_fill_by_mode() {
    let pad = |before: i64, after: i64, mode| {
        Prim::Pad(prim::Pad { before: vec![Dim::known(before)], after: vec![Dim::known(after)], mode })
    };
    let x = row(&[1.0, 2.0, 3.0]);
    let constant = eval(pad(1, 2, PadMode::Constant(0.5)), &[&x]);
    assert_eq!(constant, row(&[0.5, 1.0, 2.0, 3.0, 0.5, 0.5]));
    assert_eq!(eval(pad(2, 1, PadMode::Reflect), &[&x]), row(&[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]));
    assert_eq!(eval(pad(2, 1, PadMode::Edge), &[&x]), row(&[1.0, 1.0, 1.0, 2.0, 3.0, 3.0]));
    assert_eq!(eval(pad(1, 0, PadMode::Constant(-2.0)), &[&ints(&[1], &[7])]), ints(&[2], &[-2, 7]));
    assert!(error(pad(1, 0, PadMode::Edge), &[&row(&[])]).contains("empty"));
    assert!(error(pad(3, 0, PadMode::Reflect), &[&x]).contains("out of range"));
    let square = Prim::Pad(prim::Pad { before: known(&[0, 1]), after: known(&[1, 0]), mode: PadMode::Edge });
    let x = floats(&[2, 1], &[1.0, 2.0]);
    assert_eq!(eval(square, &[&x]), floats(&[3, 2], &[1.0, 1.0, 2.0, 2.0, 2.0, 2.0]));
}

#[test]
fn gather_and_scatter_count_from_the_end_and_refuse_the_rest() {
    let x = floats(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let at = ints(&[2, 2], &[0, -1, 1, 1]);
    let y = eval(Prim::Gather(prim::Gather { axis: 1 }), &[&x, &at]);
    assert_eq!(y, floats(&[2, 2, 2], &[1.0, 3.0, 2.0, 2.0, 4.0, 6.0, 5.0, 5.0]));
    assert_eq!(eval(Prim::Gather(prim::Gather { axis: 0 }), &[&x, &ints(&[], &[-2])]), row(&[1.0, 2.0, 3.0]));
    let back = eval(Prim::ScatterAdd(prim::ScatterAdd { axis: 1, to: Dim::known(3) }), &[&y, &at]);
    assert_eq!(back, floats(&[2, 3], &[1.0, 4.0, 3.0, 4.0, 10.0, 6.0]));
    let five = row(&[0.0; 5]);
    for index in [7, -6] {
        let expected = format!("index {index} is out of range for axis 0 of dimension 5");
        assert_eq!(error(Prim::Gather(prim::Gather { axis: 0 }), &[&five, &ints(&[1], &[index])]), expected);
        let scatter = Prim::ScatterAdd(prim::ScatterAdd { axis: 0, to: Dim::known(5) });
        assert_eq!(error(scatter, &[&row(&[1.0]), &ints(&[1], &[index])]), expected);
    }
    assert!(
        error(Prim::Gather(prim::Gather { axis: 0 }), &[&row(&[]), &ints(&[1], &[i64::MIN])])
            .contains("out of range")
    );
}

#[test]
fn leaves_have_their_values() {
    assert_eq!(eval(Prim::Iota(prim::Iota { len: Dim::known(3) }), &[]), ints(&[3], &[0, 1, 2]));
    assert_eq!(eval(Prim::Const(Tensor::from_f32(&[2], &[0.5, 1.0])), &[]), row(&[0.5, 1.0]));
    let values = vec![Dim::symbol("n"), Dim::known(4)];
    let dims = Prim::Dims(prim::Dims { dims: vec![2], values });
    assert_eq!(error(dims.clone(), &[]), "dimension n is not known");
    let bound = dims.substitute(&Bindings::from([("n".into(), 3)]));
    assert_eq!(eval(bound, &[]), ints(&[2], &[3, 4]));
    let fixed = Prim::Dims(prim::Dims { dims: vec![1, 2], values: known(&[5, 6]) });
    assert_eq!(eval(fixed, &[]), ints(&[1, 2], &[5, 6]));
    assert!(error(Prim::Dims(prim::Dims { dims: vec![3], values: known(&[5]) }), &[]).contains("elements"));
    error(Prim::Input, &[]);
}

#[test]
fn unknown_negative_and_huge_dimensions_are_refused() {
    let x = row(&[1.0]);
    let expand = |d: Dim| Prim::Expand(prim::Expand { to: Shape(vec![d]) });
    assert_eq!(error(expand(Dim::symbol("n")), &[&x]), "dimension n is not known");
    assert!(error(expand(Dim::known(-3)), &[&x]).contains("-3"));
    assert!(error(expand(Dim::known((1 << 31) + 1)), &[&x]).contains("more than 2147483648 elements"));
    assert!(error(Prim::Iota(prim::Iota { len: Dim::known(i64::MAX) }), &[]).contains("elements"));
    let start = Prim::Slice(prim::Slice { axis: 0, start: Dim::symbol("s"), len: Dim::known(1), step: 1 });
    assert_eq!(error(start, &[&x]), "dimension s is not known");
    let empty = Prim::Expand(prim::Expand { to: Shape(known(&[0, 1 << 40])) });
    assert!(error(empty, &[&floats(&[1, 1], &[1.0])]).contains("elements"));
    assert!(error(Prim::Cast(prim::Cast { to: DType::F32 }), &[]).contains("inputs, found 0"));
}

proptest! {
    #[test]
    fn transpose_permutes_every_index(
        perm in Just(vec![0usize, 1, 2, 3]).prop_shuffle(),
        dims in prop::collection::vec(0usize..4, 4),
        seed in any::<u64>(),
    ) {
        let x = random(&dims, seed);
        let Array::F(v) = &x else { panic!("floats") };
        let y = eval(Prim::Transpose(prim::Transpose { perm: perm.clone() }), &[&x]);
        let naive = |i: &Vec<usize>| {
            let mut source = [0; 4];
            (0..4).for_each(|axis| source[perm[axis]] = i[axis]);
            v[source]
        };
        assert_close(&y, &floats(y.dims(), &indices(y.dims()).iter().map(naive).collect::<Vec<_>>()));
    }

    #[test]
    fn slice_transpose_is_the_adjoint_of_slice(
        axis in 0usize..3,
        start in 0i64..4,
        step in prop::sample::select(vec![-2i64, -1, 1, 2]),
        len in 0i64..3,
        seed in any::<u64>(),
    ) {
        let last = start + (len - 1).max(0) * step;
        prop_assume!((0..6).contains(&last));
        let mut dims = [2, 3, 2];
        dims[axis] = 6;
        let x = random(&dims, seed);
        let y = eval(slice(axis, start, len, step), &[&x]);
        let s = random(y.dims(), seed ^ 1);
        let to = Dim::known(6);
        let back = eval(Prim::SliceTranspose(prim::SliceTranspose { axis, start: Dim::known(start), to, step }), &[&s]);
        prop_assert_eq!(inner(&y, &s), inner(&x, &back));
    }

    #[test]
    fn scatter_add_is_the_adjoint_of_gather(
        axis in 0usize..3,
        at in prop::collection::vec(-3i64..3, 0..6),
        square in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut dims = [2, 4, 2];
        dims[axis] = 3;
        let x = random(&dims, seed);
        let shape = if square && at.len() % 2 == 0 { vec![at.len() / 2, 2] } else { vec![at.len()] };
        let at = ints(&shape, &at);
        let y = eval(Prim::Gather(prim::Gather { axis }), &[&x, &at]);
        let s = random(y.dims(), seed ^ 1);
        let back = eval(Prim::ScatterAdd(prim::ScatterAdd { axis, to: Dim::known(3) }), &[&s, &at]);
        prop_assert_eq!(inner(&y, &s), inner(&x, &back));
    }

    #[test]
    fn sum_is_the_adjoint_of_expand(
        dims in prop::collection::vec((1usize..4, any::<bool>()), 0..4),
        lead in 0usize..2,
        seed in any::<u64>(),
    ) {
        let from: Vec<usize> = dims.iter().map(|(d, broadcast)| if *broadcast { 1 } else { *d }).collect();
        let to: Vec<usize> = (0..lead).map(|_| 2).chain(dims.iter().map(|(d, _)| *d)).collect();
        let x = random(&from, seed);
        let y = eval(Prim::Expand(prim::Expand { to: Shape(known(&to)) }), &[&x]);
        let s = random(&to, seed ^ 1);
        let axes: Vec<usize> = (0..to.len()).filter(|i| *i < lead || from[i - lead] != to[*i]).collect();
        let sum = eval(Prim::Reduce(prim::Reduce { kind: Reduction::Sum, axes, keep: true }), &[&s]);
        let back = eval(Prim::Reshape(prim::Reshape { to: Shape(known(&from)) }), &[&sum]);
        prop_assert_eq!(inner(&y, &s), inner(&x, &back));
    }
}
