//! Attention and its reverses without the matrix of weights in memory: a block makes tiles of 64 by 64 scores in registers,
//! and what is left of them is their product with a matrix, or a sum along them.
//!
//! A score is an expression over products of rows, `a_i · b_j`, and over vectors and matrices that broadcast to the scores. The
//! block has 64 rows `i`, its own, and runs through all rows `j`, so each result has one writer and its sum one order. Queries own
//! their rows for what goes to queries, keys for what goes to keys. Weights are made again from the row's maximum and sum, which the
//! forward keeps; with an online softmax it makes both in the pass that mixes the values [milakov2018, dao2022].
//!
//! A warp has 16 own rows. A lane has, of each 8 columns, two of row `lane / 4` and two of 8 rows further: as the sums of
//! `mma.m16n8k8` lie, which makes the weights of a tile the left operand of the next product without a move.

mod ending;
mod product;
mod variants;

pub use variants::variants;

use dlbc_ops::prim::Transform;

use super::pointwise::{Division, Kind, Term, evaluate};
use super::{digest, math};
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm};
use crate::op;

/// Own rows of a block, columns of a tile of scores, and columns of the result that a block makes.
pub const EXTENT: u32 = 64;
/// Threads of a block.
const THREADS: u32 = 128;
/// Groups of 8 columns in a tile.
const GROUPS: usize = 8;

/// What multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Threads, by float32 multiply-adds.
    Fma,
    /// Tensor cores, by three tf32 products.
    Tensor,
}

/// Products of the same two matrices, whose rows are dotted.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Whether each matrix, the own one first, is dense along the depth rather than along its rows.
    pub depth_first: [bool; 2],
    /// The parts of each product.
    pub parts: Vec<[Transform; 2]>,
}

/// What an operand of the expression varies with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Along {
    /// Own rows.
    Own,
    /// The rows that the block runs through.
    Other,
    /// Both.
    Both,
}

/// What becomes of the scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// Their product with this part of a matrix: `Σ_j x_ij w_jc`.
    Product {
        /// The part.
        part: Transform,
        /// Whether the matrix is dense along its columns.
        across: bool,
    },
    /// Their softmax along `j` and its product with a matrix; keeps each row's maximum and its sum of exponentials.
    Softmax {
        /// Whether the matrix is dense along its columns.
        across: bool,
        /// A row of -∞ gives 0, else NaN.
        guard: bool,
    },
    /// The maximum and the sum of a softmax alone.
    Statistics,
    /// The sum of each row.
    Sum,
}

/// A kernel over tiles of scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiled {
    /// The products that the scores are made of.
    pub groups: Vec<Group>,
    /// What else they are made of: floats or booleans.
    pub operands: Vec<(Kind, Along)>,
    /// The expression, as of a chain; operands are the products, group by group, then the others.
    pub terms: Vec<(Term, Kind)>,
    /// What becomes of it.
    pub end: End,
    /// What multiplies.
    pub unit: Unit,
}

/// A matrix: strides along its rows and columns and along the batch, in elements, modulo 2³². A product's operand has its depth
/// for columns; a matrix of the expression has own rows for rows; a result its own rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Matrix {
    /// The first element.
    pub address: u64,
    /// Along rows and columns.
    pub strides: [i32; 2],
    /// Along the axes of the batch.
    pub batch: [i32; 4],
}

/// Values of the parameters.
#[derive(Clone, Debug, Default)]
pub struct TiledArgs {
    /// Own rows.
    pub own: u32,
    /// Rows that a block runs through, at least 1.
    pub other: u32,
    /// Columns of the result; 1 when there is no matrix.
    pub width: u32,
    /// The axes of the batch, outermost first.
    pub batch: [u32; 4],
    /// The depth of each group.
    pub depths: Vec<u32>,
    /// Results (product or sum; maximum, sum of exponentials), the matrix of the last product, the groups' matrices, the operands.
    pub matrices: Vec<Matrix>,
}

/// Offsets in the parameter block.
const OWN: usize = 0;
const OTHER: usize = 4;
const WIDTH: usize = 8;
const TILES: usize = 12;
const BATCH: usize = 16;
const DEPTHS: usize = 32;
/// The most groups that a kernel has.
pub const MAX_GROUPS: usize = 4;
const MATRICES: usize = DEPTHS + 4 * MAX_GROUPS;
const MATRIX: usize = 32;

/// A matrix in registers.
struct Place {
    base: Reg,
    /// Offset of the batch.
    start: Reg,
    strides: [Reg; 2],
}

/// What all of a kernel's parts read.
struct Frame {
    tid: Reg,
    /// The first of the own rows.
    first: Reg,
    /// This lane's own rows, and whether each exists.
    rows: [Reg; 2],
    exist: [Reg; 2],
    /// A lane's place in its row's columns: `2 · (lane % 4)`.
    pair: Reg,
    /// The first row of the other side's tile.
    at: Reg,
    own: Reg,
    other: Reg,
    /// The first column of the result.
    column: Reg,
    width: Reg,
    /// The lane's place in shared memory, by unit: see `product`.
    lane: product::Lane,
}

/// A tile's numbers in a lane: `[group of columns][row · 2 + column]`.
type Numbers = Vec<[Reg; 4]>;

impl Tiled {
    /// Results before the matrix.
    fn results(&self) -> usize {
        match self.end {
            End::Product { .. } | End::Sum => 1,
            End::Statistics => 2,
            End::Softmax { .. } => 3,
        }
    }

    fn mixes(&self) -> bool {
        matches!(self.end, End::Product { .. } | End::Softmax { .. })
    }

    fn count(&self) -> usize {
        self.results() + usize::from(self.mixes()) + 2 * self.groups.len() + self.operands.len()
    }

    /// Bytes of the parameter block.
    pub fn params_bytes(&self) -> usize {
        MATRICES + MATRIX * self.count()
    }

    /// A name that says all that the text depends on.
    pub fn name(&self) -> String {
        format!("attention_{}", digest(&format!("{self:?}")))
    }

    /// Blocks for so much.
    pub fn blocks(&self, args: &TiledArgs) -> [u32; 3] {
        let tiles = args.width.div_ceil(EXTENT);
        [tiles * args.batch.iter().product::<u32>(), args.own.div_ceil(EXTENT), 1]
    }

    /// The parameter block.
    pub fn params(&self, args: &TiledArgs) -> Vec<u8> {
        let mut words = vec![args.own, args.other, args.width, args.width.div_ceil(EXTENT)];
        words.extend(args.batch);
        words.extend((0..MAX_GROUPS).map(|i| args.depths.get(i).copied().unwrap_or(0)));
        for m in &args.matrices {
            words.extend([m.address as u32, (m.address >> 32) as u32]);
            words.extend(m.strides.iter().chain(&m.batch).map(|s| *s as u32));
        }
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    /// The kernel.
    pub fn emit(&self) -> Kernel {
        self.emit_as(&self.name())
    }

    /// The kernel under another name.
    pub fn emit_as(&self, name: &str) -> Kernel {
        let mut emitter = Emitter::new();
        let k = &mut emitter;
        let [own, other, width, tiles] = [OWN, OTHER, WIDTH, TILES].map(|at| k.param_u32(at));
        let block = k.mov_u32("%ctaid.x");
        let (image, column) = k.div_rem(block, tiles);
        let batch = k.param_inner(BATCH, 4);
        let place = k.coordinates(image, &batch);
        let matrices: Vec<Place> = (0..self.count())
            .map(|i| {
                let at = MATRICES + MATRIX * i;
                let strides = k.param_u32s(at + 8, 6);
                let start = k.offset(None, &place, &strides[2..]);
                Place { base: k.param_u64(at), start, strides: [strides[0], strides[1]] }
            })
            .collect();
        let (results, rest) = matrices.split_at(self.results());
        let (weight, rest) = rest.split_at(usize::from(self.mixes()));
        let (sources, operands) = rest.split_at(2 * self.groups.len());

        let (tid, lane, first) = (k.mov_u32("%tid.x"), k.r(), k.mov_u32("%ctaid.y"));
        op!(k, "shl.b32 {first}, {first}, {}", EXTENT.trailing_zeros());
        op!(k, "shl.b32 {column}, {column}, {}", EXTENT.trailing_zeros());
        let (row, pair, below) = (k.r(), k.r(), k.r());
        op!(k, "and.b32 {lane}, {tid}, 31");
        op!(k, "shr.u32 {row}, {lane}, 2");
        op!(k, "and.b32 {pair}, {lane}, 3");
        let (warp, local) = (k.r(), k.r());
        op!(k, "shr.u32 {warp}, {tid}, 5");
        op!(k, "mad.lo.u32 {local}, {warp}, 16, {row}");
        let lane = product::Lane::new(k, self.unit, local, row, pair);
        op!(k, "shl.b32 {pair}, {pair}, 1");
        op!(k, "add.u32 {row}, {first}, {local}");
        op!(k, "add.u32 {below}, {row}, 8");
        let exist = [row, below].map(|r| {
            let p = k.p();
            op!(k, "setp.lt.u32 {p}, {r}, {own}");
            p
        });
        let at = k.mov_u32("0");
        let frame =
            Frame { tid, first, rows: [row, below], exist, pair, at, own, other, column, width, lane };

        // What varies with the own rows alone is read once.
        let mut held: Vec<Option<[Reg; 2]>> = vec![];
        for ((kind, along), m) in self.operands.iter().zip(operands) {
            let pairs = || [(frame.rows[0], frame.exist[0]), (frame.rows[1], frame.exist[1])];
            held.push((*along == Along::Own).then(|| {
                pairs().map(|(row, exists)| {
                    let index = k.offset(Some(m.start), &[row], &[m.strides[0]]);
                    load(k, *kind, m, index, exists)
                })
            }));
        }
        let ending = ending::Ending::new(k, self.end);
        let [left, right, mixed] = product::regions(k, self.mixes());
        let top = k.label("TILE");
        k.place(&top);
        let mut products: Vec<Numbers> = vec![];
        for (i, group) in self.groups.iter().enumerate() {
            let depth = k.param_u32(DEPTHS + 4 * i);
            let sides = [&sources[2 * i], &sources[2 * i + 1]];
            products.extend(product::dots(k, &frame, group, sides, depth, [left, right], self.unit));
        }
        let scores = self.scores(k, &frame, &products, operands, &held);
        let mix = weight.first().map(|m| (m, mixed));
        ending.tile(k, &frame, scores, mix, left, self.unit);
        op!(k, "add.u32 {at}, {at}, {EXTENT}");
        let more = k.p();
        op!(k, "setp.lt.u32 {more}, {at}, {other}");
        op!(k, "@{more} bra {top}");
        ending.finish(k, &frame, results);
        emitter.finish(name, THREADS, self.params_bytes())
    }

    /// The expression at each of a lane's places. Where there is no column it is what the end takes for nothing.
    fn scores(
        &self,
        k: &mut Emitter,
        frame: &Frame,
        products: &[Numbers],
        operands: &[Place],
        held: &[Option<[Reg; 2]>],
    ) -> Numbers {
        let nothing = match self.end {
            End::Softmax { .. } | End::Statistics => imm(f32::NEG_INFINITY),
            End::Product { .. } | End::Sum => imm(0.0),
        };
        let start = k.r();
        op!(k, "add.u32 {start}, {}, {}", frame.at, frame.pair);
        let mut made = vec![];
        for group in 0..GROUPS {
            let mut four = [start; 4];
            for side in 0..2 {
                let (column, inside) = (k.r(), k.p());
                op!(k, "add.u32 {column}, {start}, {}", 8 * group + side);
                op!(k, "setp.lt.u32 {inside}, {column}, {}", frame.other);
                let mut above: Vec<Reg> = vec![];
                for row in 0..2 {
                    let place = 2 * row + side;
                    let mut values: Vec<Reg> = products.iter().map(|p| p[group][place]).collect();
                    for (i, ((kind, along), m)) in self.operands.iter().zip(operands).enumerate() {
                        values.push(match (along, &held[i]) {
                            (Along::Own, Some(held)) => held[row],
                            (Along::Other, _) if row == 1 => above[i],
                            (Along::Other, _) => {
                                let index = k.offset(Some(m.start), &[column], &[m.strides[1]]);
                                load(k, *kind, m, index, inside)
                            }
                            (Along::Own | Along::Both, _) => {
                                let exists = k.p();
                                op!(k, "and.pred {exists}, {inside}, {}", frame.exist[row]);
                                let at = [frame.rows[row], column];
                                let index = k.offset(Some(m.start), &at, &m.strides);
                                load(k, *kind, m, index, exists)
                            }
                        });
                    }
                    let value = evaluate(k, &self.terms, &values, Division::Rounded);
                    four[place] = math::pick(k, value, &nothing, inside);
                    above = values.split_off(products.len());
                }
            }
            made.push(four);
        }
        made
    }
}

/// An element where it exists, else 0.
fn load(k: &mut Emitter, kind: Kind, m: &Place, index: Reg, exists: Reg) -> Reg {
    let address = k.address(m.base, index, 4);
    let value = kind.register(k);
    op!(k, "mov.b32 {value}, 0");
    op!(k, "@{exists} ld.global.{} {value}, [{address}]", kind.suffix());
    value
}
