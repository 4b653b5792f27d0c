//! Columns of numbers that are nearly always small.

/// 64-bit numbers at 4 bytes each; the few that do not fit are kept exactly on the side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    narrow: Vec<u32>,
    /// Position and value of each number whose narrow form is [`WIDE`], by position.
    wide: Vec<(u32, u64)>,
}

const WIDE: u32 = u32::MAX;

impl Column {
    pub(crate) fn get(&self, position: usize) -> u64 {
        match self.narrow[position] {
            WIDE => self.wide[self.wide_slot(position).expect("every WIDE has its value on the side")].1,
            value => u64::from(value),
        }
    }

    pub(crate) fn set(&mut self, position: usize, value: u64) {
        let slot = self.wide_slot(position);
        match (u32::try_from(value).ok().filter(|&value| value != WIDE), slot) {
            (Some(narrow), Ok(slot)) => {
                self.wide.remove(slot);
                self.narrow[position] = narrow;
            }
            (Some(narrow), Err(_)) => self.narrow[position] = narrow,
            (None, Ok(slot)) => self.wide[slot].1 = value,
            (None, Err(slot)) => {
                let position_u32 = u32::try_from(position).expect("a chunk is short");
                self.wide.insert(slot, (position_u32, value));
                self.narrow[position] = WIDE;
            }
        }
    }

    pub(crate) fn push(&mut self, value: u64) {
        self.narrow.push(0);
        self.set(self.narrow.len() - 1, value);
    }

    pub(crate) fn reserve_exact(&mut self, additional: usize) {
        self.narrow.reserve_exact(additional);
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.narrow.shrink_to_fit();
        self.wide.shrink_to_fit();
    }

    /// Heap bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.narrow.capacity() * size_of::<u32>() + self.wide.capacity() * size_of::<(u32, u64)>()
    }

    fn wide_slot(&self, position: usize) -> Result<usize, usize> {
        self.wide.binary_search_by_key(&position, |&(position, _)| position as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = u64> {
        prop_oneof![0..10u64, u64::from(u32::MAX) - 2..u64::from(u32::MAX) + 3, any::<u64>()]
    }

    proptest! {
        #[test]
        fn behaves_as_a_vector_of_u64(
            pushed in prop::collection::vec(any_value(), 1..50),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any_value()), 0..100),
        ) {
            let mut column = Column::default();
            pushed.iter().for_each(|&value| column.push(value));
            let mut model = pushed;
            for (at, value) in changes {
                let at = at.index(model.len());
                model[at] = value;
                column.set(at, value);
            }
            prop_assert_eq!((0..model.len()).map(|at| column.get(at)).collect::<Vec<_>>(), model.clone());
            prop_assert_eq!(column.wide.len(), model.iter().filter(|&&value| value >= u64::from(WIDE)).count());
        }
    }
}
