//! Elementwise expressions over views, and over a product that waits for what follows it.

use std::sync::Arc;

use dlbc_ops::prim::{Binary, Transform, Unary};
use dlbc_ptx::kernel::epilogue::Epilogue;
use dlbc_ptx::kernel::pointwise::{Kind, Term};

use super::View;
use super::product::Product;

/// Stands for the buffer of a product that is not computed yet, and of a second one beside it.
const WAITING: usize = usize::MAX;
const SECOND: usize = usize::MAX - 1;

/// Two expressions over products of the same operands.
pub(super) enum Together {
    /// Their sum.
    Sum(Expression),
    /// Both; the first has the product of both.
    Pair([Expression; 2]),
}

/// An expression over views that broadcast to `dims`.
#[derive(Clone)]
pub(super) struct Expression {
    pub(super) dims: Vec<usize>,
    pub(super) operands: Vec<View>,
    pub(super) terms: Vec<(Term, Kind)>,
    /// The word that a failing element sets.
    pub(super) status: Option<View>,
    /// The product whose result is the operand [`WAITING`]: it is computed with what follows it.
    pub(super) product: Option<Arc<Product>>,
}

impl Expression {
    /// A view as it is.
    pub(super) fn of(view: View) -> Expression {
        let terms = vec![(Term::Operand(0), view.kind)];
        Expression { dims: view.dims.clone(), operands: vec![view], terms, status: None, product: None }
    }

    /// One value everywhere.
    pub(super) fn fill(dims: &[usize], kind: Kind) -> Expression {
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

    /// A function of the expression and a constant, which gives `kind`.
    pub(super) fn with(mut self, constant: Term, f: Binary, kind: Kind) -> Expression {
        let place = self.terms.len();
        self.terms.push((constant, self.kind()));
        self.terms.push((Term::Binary(f, place - 1, place), kind));
        self
    }

    pub(super) fn kind(&self) -> Kind {
        self.terms.last().map_or(Kind::F, |(_, k)| *k)
    }

    /// Appends another's terms; returns the place of its result.
    pub(super) fn take_in(&mut self, other: &Expression) -> usize {
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
            let known = matches!(term, Term::Operand(_)).then(|| self.terms.iter().position(same)).flatten();
            places.push(known.unwrap_or(self.terms.len()));
            if known.is_none() {
                self.terms.push((term, *kind));
            }
        }
        places.last().copied().unwrap_or(0)
    }

    /// The result of a product that is yet to be computed.
    pub(super) fn waiting(product: Product) -> Expression {
        let view = View::dense(WAITING, Kind::F, &product.dims);
        Expression { product: Some(Arc::new(product)), ..Expression::of(view) }
    }

    /// With another added.
    pub(super) fn plus(mut self, other: &Expression) -> Expression {
        let own = self.terms.len() - 1;
        let place = self.take_in(other);
        self.terms.push((Term::Binary(Binary::Add, own, place), Kind::F));
        self
    }

    /// With the results of the product, and of the second one beside it, in memory.
    pub(super) fn stored(&self, results: &[View]) -> Expression {
        let mut e = Expression { product: None, ..self.clone() };
        for (waiting, result) in [WAITING, SECOND].into_iter().zip(results) {
            let result = result.with_dims(&self.dims);
            e.operands.iter_mut().filter(|v| v.buffer == waiting).for_each(|v| *v = result.clone());
        }
        e
    }

    /// Whether a product's result is among the operands, its own or another's.
    pub(super) fn waits(&self) -> bool {
        self.operands.iter().any(|v| v.buffer >= SECOND)
    }

    /// Both with one product for two of the same operands, when they wait for such: the sum of products alone, or two
    /// expressions of which the first has the product.
    pub(super) fn together(&self, other: &Expression, added: bool) -> Option<Together> {
        let (own, second) = (self.product.as_ref()?, other.product.as_ref()?);
        if added && self.terms.len() == 1 && other.terms.len() == 1 && self.dims == other.dims {
            let sum = Expression::waiting(own.with(second, false)?);
            return sum.reshaped(&self.dims).map(Together::Sum);
        }
        let product = Some(Arc::new(own.with(second, true)?));
        let first = Expression { product, ..self.clone() };
        let mut second = Expression { product: None, ..other.clone() };
        second.operands.iter_mut().filter(|v| v.buffer == WAITING).for_each(|v| v.buffer = SECOND);
        Some(Together::Pair([first, second]))
    }

    /// The view of which this is a part that products know, and the part.
    pub(super) fn part(&self) -> Option<(View, Transform)> {
        let [view] = self.operands.as_slice() else { return None };
        let part = match self.terms.as_slice() {
            [(Term::Operand(0), Kind::F), (Term::Unary(Unary::Abs, 0), _)] => Transform::Abs,
            [(Term::Operand(0), Kind::F), (Term::Unary(Unary::Relu, 0), _)] => Transform::Pos,
            [(Term::Operand(0), Kind::F), (Term::Float(0.0), _), (Term::Binary(Binary::Min, 0, 1), _)] => {
                Transform::Neg
            }
            _ => return None,
        };
        (view.buffer < SECOND).then(|| (view.broadcast(&self.dims), part))
    }

    /// Under other dimensions, when strides can say so of all operands.
    pub(super) fn reshaped(&self, dims: &[usize]) -> Option<Expression> {
        let operands = self.operands.iter().map(|v| v.broadcast(&self.dims).reshaped(dims));
        Some(Expression { operands: operands.collect::<Option<_>>()?, dims: dims.to_vec(), ..self.clone() })
    }

    /// What follows the product, with the operands, when its kernel can do that.
    pub(super) fn epilogue(&self) -> Option<(Epilogue, Vec<View>)> {
        let product = self.product.as_ref().filter(|_| self.status.is_none())?;
        let (mut beside, mut reaches, mut numbers) = (vec![], vec![], vec![]);
        for view in &self.operands {
            if view.buffer >= SECOND {
                numbers.push(WAITING - view.buffer);
                continue;
            }
            let view = view.broadcast(&self.dims);
            let view = if self.dims == product.dims { view } else { view.reshaped(&product.dims)? };
            reaches.push(product.reach(&view).filter(|_| view.kind == Kind::F)?);
            beside.push(view);
            numbers.push(product.sums() + reaches.len() - 1);
        }
        // The product alone is stored as it is.
        if self.terms.len() == 1 {
            return Some((Epilogue::default(), vec![]));
        }
        let numbered = |(term, kind): &(Term, Kind)| match term {
            Term::Operand(i) => (Term::Operand(numbers[*i]), *kind),
            other => (other.clone(), *kind),
        };
        let terms: Vec<_> = self.terms.iter().map(numbered).collect();
        Epilogue::takes(&terms, reaches.len()).then_some((Epilogue { operands: reaches, terms }, beside))
    }
}
