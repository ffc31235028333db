//! Reading of a node as another operator: one that is that operator between other steps.

use std::cell::{Cell, RefCell};

use super::Reading;
use crate::OpError;
use crate::graph::Value;
use crate::op::readers;

impl Reading<'_> {
    /// Reads a standard operator with the attributes of this node and other operands; returns its first output.
    ///
    /// # Errors
    /// As the operator's reader.
    pub fn read_as(&mut self, op: &str, opset: i64, inputs: &[Option<Value>]) -> Result<Value, OpError> {
        let reader = readers().into_iter().find(|r| r.domain.is_empty() && r.op == op);
        let reader = reader.ok_or_else(|| OpError::invalid("operator", "one of the standard", op))?;
        let outputs = self.with_operands(op, opset, inputs, reader.read)?;
        outputs.first().copied().ok_or_else(|| OpError::invalid("outputs of the operator", "at least 1", 0))
    }

    /// Reads an operator with the attributes of this node and other operands.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn with_operands(
        &mut self,
        op: &str,
        opset: i64,
        inputs: &[Option<Value>],
        read: fn(&mut Reading) -> Result<Vec<Value>, OpError>,
    ) -> Result<Vec<Value>, OpError> {
        let mut reading = Reading {
            graph: &mut *self.graph,
            op,
            opset,
            inputs,
            outputs: self.outputs,
            attributes: self.attributes,
            narrow: self.narrow,
            asked: RefCell::default(),
            asked_inputs: Cell::new(0),
            origin: self.origin.clone(),
            max_tensor_bytes: self.max_tensor_bytes,
            words: self.words,
        };
        let outputs = read(&mut reading)?;
        let asked = reading.asked.into_inner();
        self.asked.borrow_mut().extend(asked);
        Ok(outputs)
    }
}
