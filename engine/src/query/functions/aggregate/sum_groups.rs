//! Sums of integers and decimals per group.

use arrow::{
    array::{Array, ArrayRef, BooleanArray},
    datatypes::{DataType, i256},
};
use datafusion::{
    common::Result,
    logical_expr::{EmitTo, GroupsAccumulator},
};

use super::{for_each_narrow, for_each_wide, out_of_range, sums_to_array};

/// Sums in 128 bits each; what does not fit them is carried in 256.
pub(super) struct SumGroups {
    returns: DataType,
    sums: Vec<i128>,
    seen: Vec<bool>,
    /// Belongs to the sums; empty as long as none needed it.
    carries: Vec<i256>,
}

impl SumGroups {
    pub(super) fn new(returns: DataType) -> Self {
        Self { returns, sums: Vec::new(), seen: Vec::new(), carries: Vec::new() }
    }

    fn is_wide(&self) -> bool {
        matches!(self.returns, DataType::Decimal256(..))
    }

    fn carry(&mut self, group: usize, value: i256) -> Result<()> {
        self.carries.resize(self.sums.len(), i256::ZERO);
        let carry = &mut self.carries[group];
        *carry = carry.checked_add(value).ok_or_else(|| out_of_range(&self.returns))?;
        Ok(())
    }

    fn add(&mut self, group: usize, value: i128) -> Result<()> {
        self.seen[group] = true;
        let sum = &mut self.sums[group];
        if let Some(next) = sum.checked_add(value) {
            *sum = next;
            return Ok(());
        }
        if !self.is_wide() {
            return Err(out_of_range(&self.returns));
        }
        let full = std::mem::replace(&mut self.sums[group], value);
        self.carry(group, i256::from_i128(full))
    }
}

impl GroupsAccumulator for SumGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.sums.resize(total_num_groups, 0);
        self.seen.resize(total_num_groups, false);
        let kept = |row| opt_filter.is_none_or(|keep| keep.is_valid(row) && keep.value(row));
        if matches!(values[0].data_type(), DataType::Decimal256(..)) {
            return for_each_wide(&values[0], |row, value| {
                if kept(row) {
                    self.seen[group_indices[row]] = true;
                    self.carry(group_indices[row], value)?;
                }
                Ok(())
            });
        }
        match opt_filter {
            None => for_each_narrow(&values[0], |row, value| self.add(group_indices[row], value)),
            Some(_) => for_each_narrow(&values[0], |row, value| {
                if kept(row) { self.add(group_indices[row], value) } else { Ok(()) }
            }),
        }
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let carried = !self.carries.is_empty();
        self.carries.resize(if carried { self.sums.len() } else { 0 }, i256::ZERO);
        let sums = emit_to.take_needed(&mut self.sums);
        let seen = emit_to.take_needed(&mut self.seen);
        let carries = if carried { emit_to.take_needed(&mut self.carries) } else { Vec::new() };
        let mut out = Vec::with_capacity(sums.len());
        for (group, (sum, seen)) in sums.into_iter().zip(seen).enumerate() {
            let carry = carries.get(group).copied().unwrap_or(i256::ZERO);
            let sum = i256::from_i128(sum).checked_add(carry);
            let sum = sum.ok_or_else(|| out_of_range(&self.returns))?;
            out.push(seen.then_some(sum));
        }
        sums_to_array(out.into_iter(), &self.returns)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut sums: Vec<Option<i256>> = vec![None; values[0].len()];
        for_each_wide(&values[0], |row, value| {
            if opt_filter.is_none_or(|keep| keep.is_valid(row) && keep.value(row)) {
                sums[row] = Some(value);
            }
            Ok(())
        })?;
        Ok(vec![sums_to_array(sums.into_iter(), &self.returns)?])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>()
            + self.seen.capacity()
            + self.carries.capacity() * size_of::<i256>()
    }
}
