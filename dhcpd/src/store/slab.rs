//! [`Slab`]: values by number, in chunks, so that growing neither copies what is there nor holds twice the memory.

/// Values of a chunk.
const CHUNK: usize = 2_048;

/// Values by number.
#[derive(Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// The value at `at`, which [`Self::add`] gave.
    pub(super) fn get(&self, at: u32) -> &T {
        &self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }

    /// The value at `at`, to be changed.
    pub(super) fn get_mut(&mut self, at: u32) -> &mut T {
        &mut self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }

    /// Keeps a value, where one was freed if possible, and gives its number.
    pub(super) fn add(&mut self, value: T) -> u32 {
        if let Some(at) = self.free.pop() {
            *self.get_mut(at) = value;
            return at;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self.chunks.len() - 1;
        let chunk = &mut self.chunks[last];
        chunk.push(value);
        (last * CHUNK + chunk.len() - 1) as u32
    }

    /// Lets the number be given again; the value stays until then.
    pub(super) fn free(&mut self, at: u32) {
        self.free.push(at);
    }

    /// How many numbers are given and not freed.
    pub(super) fn len(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::len);
        self.chunks.len().saturating_sub(1) * CHUNK + last - self.free.len()
    }

    /// All numbers ever given, with their values, freed ones included.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(self.chunks.iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_to_their_values_and_freed_ones_are_given_again() {
        let mut slab = Slab::default();
        let numbers: Vec<u32> = (0..CHUNK * 2 + 3).map(|value| slab.add(value)).collect();
        assert!(numbers.iter().enumerate().all(|(value, &at)| *slab.get(at) == value));
        assert_eq!(slab.len(), CHUNK * 2 + 3);
        slab.free(7);
        assert_eq!(slab.len(), CHUNK * 2 + 2);
        assert_eq!((slab.add(1_000_000), *slab.get(7)), (7, 1_000_000));
        *slab.get_mut(8) = 5;
        assert_eq!(slab.iter().nth(8), Some((8, &5)));
    }
}
