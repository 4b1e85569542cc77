//! Sets of rows of one batch.

/// A set of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    rows: usize,
}

impl Bits {
    /// Returns the empty set, of `rows` rows.
    #[must_use]
    pub fn none(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(64)], rows }
    }

    /// Returns the set of all `rows` rows.
    #[must_use]
    pub fn all(rows: usize) -> Self {
        let mut bits = Self { words: vec![u64::MAX; rows.div_ceil(64)], rows };
        if !rows.is_multiple_of(64)
            && let Some(last) = bits.words.last_mut()
        {
            *last = (1 << (rows % 64)) - 1;
        }
        bits
    }

    /// Returns how many rows there are, in the set or not.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds `row`.
    pub fn set(&mut self, row: usize) {
        self.words[row / 64] |= 1 << (row % 64);
    }

    /// Returns whether `row` is in it.
    #[must_use]
    pub fn has(&self, row: usize) -> bool {
        self.words[row / 64] >> (row % 64) & 1 == 1
    }

    /// Returns whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Returns how many rows are in it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Adds the rows of `other`.
    pub fn add(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// Takes away the rows of `other`.
    pub fn remove(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= !other);
    }

    /// Keeps only the rows that are in `other` too.
    pub fn keep(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
    }

    /// Returns its rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            std::iter::successors(Some(*word), |left| Some(left & left.wrapping_sub(1)))
                .take_while(|left| *left != 0)
                .map(move |left| index * 64 + left.trailing_zeros() as usize)
        })
    }

    /// Returns the rows of it for which `test` holds.
    #[must_use]
    pub fn filter(&self, mut test: impl FnMut(usize) -> bool) -> Self {
        let mut words = vec![0; self.words.len()];
        for row in self.iter() {
            words[row / 64] |= u64::from(test(row)) << (row % 64);
        }
        Self { words, rows: self.rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_know_their_rows() {
        let mut bits = Bits::none(130);
        [0, 63, 64, 129].into_iter().for_each(|row| bits.set(row));
        assert_eq!((bits.iter().collect::<Vec<_>>(), bits.count()), (vec![0, 63, 64, 129], 4));
        assert_eq!((Bits::all(130).count(), Bits::all(64).count(), Bits::all(0).is_empty()), (130, 64, true));
        let mut rest = Bits::all(130);
        rest.remove(&bits);
        assert!(!rest.has(64) && rest.has(65) && rest.count() == 126);
        assert_eq!(bits.filter(|row| row > 63).iter().collect::<Vec<_>>(), [64, 129]);
    }
}
