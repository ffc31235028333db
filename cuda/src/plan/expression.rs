//! Elementwise expressions over views and over a deferred product, whose epilogue they become.

use std::sync::Arc;

use dlbc_ops::prim::{Binary, Transform, Unary};
use dlbc_ptx::kernel::epilogue::{Epilogue, OPERANDS, SideOperand};
use dlbc_ptx::kernel::gemm::{STORED_SECOND, SecondSums};
use dlbc_ptx::kernel::pointwise::{Kind, Term};

use super::View;
use super::product::Product;

/// Buffer index that stands for the result of the deferred product.
const DEFERRED: usize = usize::MAX;
/// Buffer index that stands for the result of a separate second product.
const SECOND: usize = usize::MAX - 1;

/// Two expressions whose products are fused to one kernel.
pub(super) enum Fused {
    /// The sum of both.
    Sum(Expression),
    /// Both expressions; the first one holds the fused product.
    Pair([Expression; 2]),
}

/// An expression over views that broadcast to `dims`.
#[derive(Clone)]
pub(super) struct Expression {
    pub(super) dims: Vec<usize>,
    pub(super) operands: Vec<View>,
    /// Terms with their element types; the last one is the result.
    pub(super) terms: Vec<(Term, Kind)>,
    /// Status word that a failing element sets.
    pub(super) status: Option<View>,
    /// Product whose result is the operand [`DEFERRED`]. It is computed together with the expression.
    pub(super) product: Option<Arc<Product>>,
}

impl Expression {
    /// Creates an expression that copies a view.
    pub(super) fn from_view(view: View) -> Expression {
        let terms = vec![(Term::Operand(0), view.kind)];
        Expression { dims: view.dims.clone(), operands: vec![view], terms, status: None, product: None }
    }

    /// Creates an expression that is 0 everywhere.
    pub(super) fn zeros(dims: &[usize], kind: Kind) -> Expression {
        let zero = match kind {
            Kind::F => Term::Float(0.0),
            Kind::I => Term::Int(0),
            Kind::B => Term::Bool(false),
        };
        Expression {
            dims: dims.to_vec(),
            operands: vec![],
            terms: vec![(zero, kind)],
            status: None,
            product: None,
        }
    }

    /// Applies a function of the expression and a constant, whose result has the type `kind`.
    pub(super) fn with_constant(mut self, constant: Term, f: Binary, kind: Kind) -> Expression {
        let place = self.terms.len();
        self.terms.push((constant, self.kind()));
        self.terms.push((Term::Binary(f, place - 1, place), kind));
        self
    }

    pub(super) fn kind(&self) -> Kind {
        self.terms.last().map_or(Kind::F, |(_, k)| *k)
    }

    /// Appends the terms of another expression and returns the index of its result.
    pub(super) fn append(&mut self, other: &Expression) -> usize {
        let operands: Vec<usize> = other
            .operands
            .iter()
            .map(|view| {
                let view = view.broadcast(&self.dims);
                self.operands.iter().position(|v| *v == view).unwrap_or_else(|| {
                    self.operands.push(view);
                    self.operands.len() - 1
                })
            })
            .collect();
        if other.product.is_some() {
            self.product = other.product.clone();
        }
        let mut places: Vec<usize> = vec![];
        for (term, kind) in &other.terms {
            let term = match term {
                Term::Operand(i) => Term::Operand(operands[*i]),
                Term::Unary(f, a) => Term::Unary(*f, places[*a]),
                Term::Binary(f, a, b) => Term::Binary(*f, places[*a], places[*b]),
                Term::Select(c, a, b) => Term::Select(places[*c], places[*a], places[*b]),
                Term::Cast(to, a) => Term::Cast(*to, places[*a]),
                Term::Float(_) | Term::Int(_) | Term::Bool(_) => term.clone(),
            };
            let same = |t: &(Term, Kind)| *t == (term.clone(), *kind);
            let existing =
                matches!(term, Term::Operand(_)).then(|| self.terms.iter().position(same)).flatten();
            places.push(existing.unwrap_or(self.terms.len()));
            if existing.is_none() {
                self.terms.push((term, *kind));
            }
        }
        places.last().copied().unwrap_or(0)
    }

    /// Creates an expression for the result of a product that is not computed yet.
    pub(super) fn deferred(product: Product) -> Expression {
        let view = View::contiguous(DEFERRED, Kind::F, &product.dims);
        Expression { product: Some(Arc::new(product)), ..Expression::from_view(view) }
    }

    /// Adds another expression.
    pub(super) fn plus(mut self, other: &Expression) -> Expression {
        let left = self.terms.len() - 1;
        let right = self.append(other);
        self.terms.push((Term::Binary(Binary::Add, left, right), Kind::F));
        self
    }

    /// Replaces the deferred product, and a separate second one, by their results in memory.
    pub(super) fn with_results(&self, results: &[View]) -> Expression {
        let mut e = Expression { product: None, ..self.clone() };
        for (deferred, result) in [DEFERRED, SECOND].into_iter().zip(results) {
            let result = result.with_dims(&self.dims);
            e.operands.iter_mut().filter(|v| v.buffer == deferred).for_each(|v| *v = result.clone());
        }
        e
    }

    /// Returns whether the result of a deferred product is among the operands.
    pub(super) fn reads_product(&self) -> bool {
        self.operands.iter().any(|v| v.buffer >= SECOND)
    }

    /// Fuses the deferred products of both operands of `f`, if they have the same operands: to their sum, if `f` adds the bare
    /// products, else to a pair of expressions.
    pub(super) fn fuse_products(&self, other: &Expression, f: Binary) -> Option<Fused> {
        let (left, right) = (self.product.as_ref()?, other.product.as_ref()?);
        let bare = self.terms.len() == 1 && other.terms.len() == 1 && self.dims == other.dims;
        if f == Binary::Add && bare {
            let sum = Expression::deferred(left.fused_with(right, SecondSums::Added)?);
            return sum.reshaped(&self.dims).map(Fused::Sum);
        }
        let product = Some(Arc::new(left.fused_with(right, SecondSums::Operand)?));
        let first = Expression { product, ..self.clone() };
        let mut second = Expression { product: None, ..other.clone() };
        second.operands.iter_mut().filter(|v| v.buffer == DEFERRED).for_each(|v| v.buffer = SECOND);
        Some(Fused::Pair([first, second]))
    }

    /// Returns the view and the transform, if the expression is an operand transform of a stored value.
    pub(super) fn transformed_view(&self) -> Option<(View, Transform)> {
        let [view] = self.operands.as_slice() else { return None };
        let transform = match self.terms.as_slice() {
            [(Term::Operand(0), Kind::F), (Term::Unary(Unary::Abs, 0), _)] => Transform::Abs,
            [(Term::Operand(0), Kind::F), (Term::Unary(Unary::Relu, 0), _)] => Transform::Pos,
            [(Term::Operand(0), Kind::F), (Term::Float(0.0), _), (Term::Binary(Binary::Min, 0, 1), _)] => {
                Transform::Neg
            }
            _ => return None,
        };
        (view.buffer < SECOND).then(|| (view.broadcast(&self.dims), transform))
    }

    /// Returns the expression with other dimensions, if strides can express that for all operands.
    pub(super) fn reshaped(&self, dims: &[usize]) -> Option<Expression> {
        let operands = self.operands.iter().map(|v| v.broadcast(&self.dims).reshaped(dims));
        Some(Expression { operands: operands.collect::<Option<_>>()?, dims: dims.to_vec(), ..self.clone() })
    }

    /// Returns the expression as an epilogue of its product and the epilogue's operands, if the product's kernel supports it.
    pub(super) fn epilogue(&self) -> Option<(Epilogue, Vec<View>)> {
        let product = self.product.as_ref().filter(|_| self.status.is_none())?;
        let (mut operands, mut broadcasts, mut numbers) = (vec![], vec![], vec![]);
        for view in &self.operands {
            if view.buffer >= SECOND {
                numbers.push(DEFERRED - view.buffer);
                continue;
            }
            let view = view.broadcast(&self.dims);
            let view = if self.dims == product.dims { view } else { view.reshaped(&product.dims)? };
            let broadcast = product.broadcast(&view).filter(|_| view.kind == Kind::F)?;
            broadcasts.push(SideOperand { broadcast, storage: view.storage });
            operands.push(view);
            numbers.push(product.sum_count() + broadcasts.len() - 1);
        }
        // The bare product needs no epilogue.
        if self.terms.len() == 1 {
            return Some((Epilogue::default(), vec![]));
        }
        let numbered = |(term, kind): &(Term, Kind)| match term {
            Term::Operand(i) => (Term::Operand(numbers[*i]), *kind),
            other => (other.clone(), *kind),
        };
        let terms: Vec<_> = self.terms.iter().map(numbered).collect();
        let most = if product.second.is_some() { STORED_SECOND } else { OPERANDS };
        (broadcasts.len() <= most && Epilogue::takes(&terms, broadcasts.len()))
            .then_some((Epilogue { operands: broadcasts, terms, ..Epilogue::default() }, operands))
    }
}
