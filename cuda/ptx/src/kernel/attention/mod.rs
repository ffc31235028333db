//! Attention and its reverses without the score matrix in memory: a block computes tiles of 64 by 64 scores in registers and
//! reduces them to their product with a matrix, or to a sum along their rows.
//!
//! The score `s_ij` is an expression over dot products of rows, `a_i · b_j`, and over vectors and matrices that broadcast to the
//! scores. A block has 64 rows `i` and loops over all columns `j`, so each result has one writer and each sum one order. Rows are
//! queries if the result belongs to queries, and keys if it belongs to keys. Reverses recompute weights from the maximum of each
//! row and the reciprocal of its sum, which the forward stores; it finds both by an online softmax in the pass that multiplies
//! the values [milakov2018, dao2022]. No score is divided by its row's sum.
//!
//! A warp has 16 rows of the tile. Of each 8 columns, a lane holds two in row `lane / 4` and two in the row 8 below. This is the
//! layout of the accumulators of `mma.m16n8k8`, so a tile of weights serves as left operand of the next product without moves.

mod ending;
pub mod mask;
mod product;
mod variants;

pub use variants::variants;

use dlbc_ops::prim::Transform;

use super::pointwise::{Division, Kind, Term, evaluate};
use super::tile::Math;
use super::{digest, math};
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm};
use crate::op;

/// Side length of a tile of scores, and columns of the result per block.
pub const EXTENT: u32 = 64;
/// Threads per block.
const THREADS: u32 = 128;
/// Groups of 8 columns per tile.
const GROUPS: usize = 8;

/// Arithmetic unit that multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Scalar threads, by float32 multiply-adds.
    Fma,
    /// Tensor cores, on tf32 operands.
    Tensor(Operands),
}

/// Operands of a tensor core's products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operands {
    /// Two tf32 values for each float32 one, and three products (3xTF32).
    Split,
    /// One tf32 value, rounded to 11 bits.
    Rounded,
}

impl Operands {
    /// Returns the bound on the error of a sum of this depth, a dot product or the product with the matrix, relative to the sum of
    /// its magnitudes: that of rounded operands, and of steps of 8 as in [`Math::error`].
    pub const fn error(self, depth: usize) -> f64 {
        let sums = Math::Split.error(depth) - Math::Split.rounding();
        sums + match self {
            Operands::Split => Math::Split.rounding(),
            Operands::Rounded => Math::Tf32.rounding(),
        }
    }
}

/// Dot products of the rows of two matrices, `a_i · b_j`, under one or more pairs of operand transforms.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Matrices of the score rows and of the score columns: contiguous along the depth, rather than along their rows.
    pub depth_first: [bool; 2],
    /// Operand transforms of each product, for the rows and for the columns of the scores.
    pub parts: Vec<[Transform; 2]>,
}

/// Axes of the scores along which an operand of the expression varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Along {
    /// The rows, which the block owns.
    Own,
    /// The columns, over which the block loops.
    Other,
    /// Rows and columns.
    Both,
}

/// Reduction of the scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// Product with a transformed matrix: `Σ_j s_ij w_jc`.
    Product {
        /// Transform of the matrix.
        part: Transform,
        /// The matrix is contiguous along `c`, rather than along `j`.
        across: bool,
    },
    /// Softmax along `j` and its product with a matrix. Also stores each row's maximum and the reciprocal of its sum of
    /// exponentials.
    Softmax {
        /// The matrix is contiguous along `c`, rather than along `j`.
        across: bool,
        /// A row of -∞ gives 0, rather than NaN.
        guard: bool,
    },
    /// Maximum and reciprocal of the sum of exponentials of each row.
    Statistics,
    /// Sum of each row.
    Sum,
}

/// A variant of the attention kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiled {
    /// Dot products in the scores.
    pub groups: Vec<Group>,
    /// Other operands of the scores, floats or booleans, and the axes along which they vary.
    pub operands: Vec<(Kind, Along)>,
    /// Terms of the score expression with their element types. Operands are the products, group by group, then `operands`.
    pub terms: Vec<(Term, Kind)>,
    /// Reduction of the scores.
    pub end: End,
    /// Arithmetic unit that multiplies.
    pub unit: Unit,
    /// Number of tiles of the result, side by side, that a block computes for one tile of scores: 1 or 2.
    pub spans: u32,
    /// Skip the tiles that a mask rules out, as [`mask::ruled_out`] lists them.
    pub skips: bool,
}

/// A batched matrix in memory. Operands of dot products have the depth as columns; operands of the expression have the rows and
/// columns of the scores; results have the rows of the scores. Strides are in elements, modulo 2³².
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Matrix {
    /// Address of the first element.
    pub address: u64,
    /// Strides along rows and columns.
    pub strides: [i32; 2],
    /// Strides along the batch axes.
    pub batch: [i32; 4],
}

/// Values of the parameters of a [`Tiled`] kernel.
#[derive(Clone, Debug, Default)]
pub struct TiledArgs {
    /// Number of score rows.
    pub rows: u32,
    /// Number of score columns, at least 1.
    pub columns: u32,
    /// Columns of the result; 1 without a matrix.
    pub width: u32,
    /// Dimensions of the batch, outermost first.
    pub batch: [u32; 4],
    /// Length of the dot products of each group.
    pub depths: Vec<u32>,
    /// Results (product or sum, maximum, reciprocal of the sum of exponentials), the matrix of the product, two matrices per group, the operands, and
    /// the words of the tiles that are ruled out, if they are skipped.
    pub matrices: Vec<Matrix>,
}

// Offsets in the parameter block.
const ROWS: usize = 0;
const COLUMNS: usize = 4;
const WIDTH: usize = 8;
const TILES: usize = 12;
const BATCH: usize = 16;
const DEPTHS: usize = 32;
/// Maximum number of groups.
pub const MAX_GROUPS: usize = 4;
const MATRICES: usize = DEPTHS + 4 * MAX_GROUPS;
/// Bytes of a matrix in the parameter block.
const MATRIX: usize = 32;

/// Base address, offset and strides of a matrix, in registers.
struct MatrixRegs {
    base: Reg,
    /// Offset of the block's matrix in the batch.
    start: Reg,
    strides: [Reg; 2],
}

/// Position of the block and of the thread, in registers.
struct Frame {
    tid: Reg,
    /// First score row of the block.
    first_row: Reg,
    /// The two score rows of this lane.
    lane_rows: [Reg; 2],
    /// Predicates that tell whether each of `lane_rows` exists.
    row_exists: [Reg; 2],
    /// First column of the lane in each group of 8 columns: `2 · (lane % 4)`.
    pair: Reg,
    /// First score column of the current tile.
    first_column: Reg,
    /// Number of score rows.
    row_count: Reg,
    /// Number of score columns.
    column_count: Reg,
    /// First column of the result that the block computes.
    out_column: Reg,
    /// Number of columns of the result.
    out_width: Reg,
    /// Addresses of the lane in shared memory.
    lane: product::Lane,
}

/// A tile's elements in a lane: `[group of columns][row · 2 + column]`.
type Numbers = Vec<[Reg; 4]>;

impl Tiled {
    /// Number of results.
    fn results(&self) -> usize {
        match self.end {
            End::Product { .. } | End::Sum => 1,
            End::Statistics => 2,
            End::Softmax { .. } => 3,
        }
    }

    /// Number of dot products.
    fn product_count(&self) -> usize {
        self.groups.iter().map(|group| group.parts.len()).sum()
    }

    /// Returns whether the scores are multiplied by a matrix.
    fn multiplies(&self) -> bool {
        matches!(self.end, End::Product { .. } | End::Softmax { .. })
    }

    /// Number of matrices in the parameter block.
    fn count(&self) -> usize {
        self.results()
            + usize::from(self.multiplies())
            + 2 * self.groups.len()
            + self.operands.len()
            + usize::from(self.skips)
    }

    /// Returns the size of the parameter block in bytes.
    pub fn params_bytes(&self) -> usize {
        MATRICES + MATRIX * self.count()
    }

    /// Returns the entry point's name, which determines the text.
    pub fn name(&self) -> String {
        format!("attention_{}", digest(&format!("{self:?}")))
    }

    /// Returns the grid of a launch with these parameters.
    pub fn blocks(&self, args: &TiledArgs) -> [u32; 3] {
        let tiles = args.width.div_ceil(EXTENT * self.spans);
        [tiles * args.batch.iter().product::<u32>(), args.rows.div_ceil(EXTENT), 1]
    }

    /// Builds the parameter block.
    pub fn params(&self, args: &TiledArgs) -> Vec<u8> {
        let mut words = vec![args.rows, args.columns, args.width, args.width.div_ceil(EXTENT * self.spans)];
        words.extend(args.batch);
        words.extend((0..MAX_GROUPS).map(|i| args.depths.get(i).copied().unwrap_or(0)));
        for m in &args.matrices {
            words.extend([m.address as u32, (m.address >> 32) as u32]);
            words.extend(m.strides.iter().chain(&m.batch).map(|s| *s as u32));
        }
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    /// Emits the kernel.
    pub fn emit(&self) -> Kernel {
        self.emit_as(&self.name())
    }

    /// Emits the kernel under another name.
    pub fn emit_as(&self, name: &str) -> Kernel {
        let mut emitter = Emitter::new();
        let k = &mut emitter;
        // For a third block on a multiprocessor, the assembler would keep registers in memory.
        k.set_resident_blocks(2);
        let [row_count, column_count, out_width, tiles] =
            [ROWS, COLUMNS, WIDTH, TILES].map(|offset| k.param_u32(offset));
        let block = k.mov_u32("%ctaid.x");
        let (image, out_column) = k.div_rem(block, tiles);
        let batch = k.param_inner_dims(BATCH, 4);
        let coordinates = k.coordinates(image, &batch);
        let matrices: Vec<MatrixRegs> = (0..self.count())
            .map(|i| {
                let offset = MATRICES + MATRIX * i;
                let strides = k.param_u32s(offset + 8, 6);
                let start = k.offset(None, &coordinates, &strides[2..]);
                MatrixRegs { base: k.param_u64(offset), start, strides: [strides[0], strides[1]] }
            })
            .collect();
        let (results, rest) = matrices.split_at(self.results());
        let (weight, rest) = rest.split_at(usize::from(self.multiplies()));
        let (sources, rest) = rest.split_at(2 * self.groups.len());
        let (operands, ruled_out) = rest.split_at(self.operands.len());

        let (tid, lane, first_row) = (k.mov_u32("%tid.x"), k.r(), k.mov_u32("%ctaid.y"));
        op!(k, "shl.b32 {first_row}, {first_row}, {}", EXTENT.trailing_zeros());
        op!(k, "mul.lo.u32 {out_column}, {out_column}, {}", EXTENT * self.spans);
        let (row, pair, below) = (k.r(), k.r(), k.r());
        op!(k, "and.b32 {lane}, {tid}, 31");
        op!(k, "shr.u32 {row}, {lane}, 2");
        op!(k, "and.b32 {pair}, {lane}, 3");
        let (warp, local) = (k.r(), k.r());
        op!(k, "shr.u32 {warp}, {tid}, 5");
        op!(k, "mad.lo.u32 {local}, {warp}, 16, {row}");
        let lane = product::Lane::new(k, self.unit, local, row, pair);
        op!(k, "shl.b32 {pair}, {pair}, 1");
        op!(k, "add.u32 {row}, {first_row}, {local}");
        op!(k, "add.u32 {below}, {row}, 8");
        let row_exists = [row, below].map(|r| {
            let p = k.p();
            op!(k, "setp.lt.u32 {p}, {r}, {row_count}");
            p
        });
        let first_column = k.mov_u32("0");
        let frame = Frame {
            tid,
            first_row,
            lane_rows: [row, below],
            row_exists,
            pair,
            first_column,
            row_count,
            column_count,
            out_column,
            out_width,
            lane,
        };

        // Operands that vary along the rows only are loaded once.
        let mut row_values: Vec<Option<[Reg; 2]>> = vec![];
        for ((kind, along), m) in self.operands.iter().zip(operands) {
            let pairs =
                || [(frame.lane_rows[0], frame.row_exists[0]), (frame.lane_rows[1], frame.row_exists[1])];
            row_values.push((*along == Along::Own).then(|| {
                pairs().map(|(row, exists)| {
                    let index = k.offset(Some(m.start), &[row], &[m.strides[0]]);
                    load(k, *kind, m, index, exists)
                })
            }));
        }
        let ending = ending::Ending::new(k, self.end, self.spans);
        let [left, right, matrix] = product::regions(k, self.multiplies());
        let (top, next) = (k.label("TILE"), k.label("NEXT_TILE"));
        k.place(&top);
        if let [words] = ruled_out {
            let (row_tile, column_tile) = (k.mov_u32("%ctaid.y"), k.r());
            op!(k, "shr.u32 {column_tile}, {first_column}, {}", EXTENT.trailing_zeros());
            let index = k.offset(Some(words.start), &[row_tile, column_tile], &words.strides);
            let (address, word, skips) = (k.address(words.base, index, 4), k.r(), k.p());
            op!(k, "ld.global.u32 {word}, [{address}]");
            op!(k, "setp.ne.u32 {skips}, {word}, 0");
            op!(k, "@{skips} bra {next}");
        }
        // Registers do not suffice for three products and the sums of a result. Until the scores are computed, nobody reads the matrix.
        let parks = self.product_count() > 2 && self.multiplies();
        if parks {
            ending.park(k, &frame, matrix);
        }
        let mut products: Vec<Numbers> = vec![];
        for (i, group) in self.groups.iter().enumerate() {
            let depth = k.param_u32(DEPTHS + 4 * i);
            let sides = [&sources[2 * i], &sources[2 * i + 1]];
            products.extend(product::dots(k, &frame, group, sides, depth, [left, right], self.unit));
        }
        let scores = self.scores(k, &frame, &products, operands, &row_values);
        if parks {
            ending.unpark(k, &frame, matrix);
        }
        let factor = weight.first().map(|m| (m, matrix));
        ending.tile(k, &frame, scores, factor, left, self.unit);
        k.place(&next);
        op!(k, "add.u32 {first_column}, {first_column}, {EXTENT}");
        let more = k.p();
        op!(k, "setp.lt.u32 {more}, {first_column}, {column_count}");
        op!(k, "@{more} bra {top}");
        ending.finish(k, &frame, results);
        emitter.finish(name, THREADS, self.params_bytes()).of_variant(self.clone())
    }

    /// Evaluates the score expression for each element of the lane. Beyond the last column, a score is the neutral element of the
    /// reduction.
    ///
    /// Three products take so many registers that scores replace the elements of the first one, one group of columns after another. Groups
    /// beyond the last column are left out: their products are 0, which is neutral.
    fn scores(
        &self,
        k: &mut Emitter,
        frame: &Frame,
        products: &[Numbers],
        operands: &[MatrixRegs],
        row_values: &[Option<[Reg; 2]>],
    ) -> Numbers {
        let neutral = match self.end {
            End::Softmax { .. } | End::Statistics => imm(f32::NEG_INFINITY),
            End::Product { .. } | End::Sum => imm(0.0),
        };
        let replaces = products.len() > 2 && self.unit != Unit::Fma && neutral == imm(0.0);
        let leaves = replaces.then(|| (product::columns(k, frame), k.label("SCORED")));
        let start = k.r();
        op!(k, "add.u32 {start}, {}, {}", frame.first_column, frame.pair);
        let mut scores = vec![];
        for group in 0..GROUPS {
            if let Some((columns, end)) = &leaves {
                product::leave_beyond(k, *columns, 8 * group, end);
            }
            let mut four = [start; 4];
            for side in 0..2 {
                let (column, inside) = (k.r(), k.p());
                op!(k, "add.u32 {column}, {start}, {}", 8 * group + side);
                op!(k, "setp.lt.u32 {inside}, {column}, {}", frame.column_count);
                let mut above: Vec<Reg> = vec![];
                for row in 0..2 {
                    let element = 2 * row + side;
                    let mut values: Vec<Reg> = products.iter().map(|p| p[group][element]).collect();
                    for (i, ((kind, along), m)) in self.operands.iter().zip(operands).enumerate() {
                        values.push(match (along, &row_values[i]) {
                            (Along::Own, Some(row_values)) => row_values[row],
                            (Along::Other, _) if row == 1 => above[i],
                            (Along::Other, _) => {
                                let index = k.offset(Some(m.start), &[column], &[m.strides[1]]);
                                load(k, *kind, m, index, inside)
                            }
                            (Along::Own | Along::Both, _) => {
                                let exists = k.p();
                                op!(k, "and.pred {exists}, {inside}, {}", frame.row_exists[row]);
                                let coordinates = [frame.lane_rows[row], column];
                                let index = k.offset(Some(m.start), &coordinates, &m.strides);
                                load(k, *kind, m, index, exists)
                            }
                        });
                    }
                    let value = evaluate(k, &self.terms, &values, Division::Full);
                    four[element] = math::pick(k, value, &neutral, inside);
                    if replaces {
                        let first = products[0][group][element];
                        op!(k, "mov.f32 {first}, {}", four[element]);
                        four[element] = first;
                    }
                    above = values.split_off(products.len());
                }
            }
            scores.push(four);
        }
        if let Some((_, end)) = leaves {
            k.place(&end);
        }
        scores
    }
}

/// Loads an element if it exists, else 0.
fn load(k: &mut Emitter, kind: Kind, m: &MatrixRegs, index: Reg, exists: Reg) -> Reg {
    let address = k.address(m.base, index, 4);
    let value = kind.register(k);
    op!(k, "mov.b32 {value}, 0");
    op!(k, "@{exists} ld.global.{} {value}, [{address}]", kind.suffix());
    value
}
