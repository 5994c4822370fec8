//! A buffer whose start lies on a page boundary, as direct I/O asks for.

use super::format::PAGE_BYTES;

/// Octets that begin on a page boundary in memory. Grows when asked to, never shrinks.
#[derive(Debug, Default)]
pub struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// A zeroed buffer of `length` octets.
    pub fn zeroed(length: usize) -> AlignedBuffer {
        let memory = vec![0u8; length + PAGE_BYTES];
        let start = memory.as_ptr().align_offset(PAGE_BYTES);
        AlignedBuffer { memory, start, length }
    }

    /// Makes the buffer `length` octets long. What it held is kept only when `length` fits in the memory it has.
    pub fn resize(&mut self, length: usize) {
        if self.start + length > self.memory.len() {
            *self = AlignedBuffer::zeroed(length.next_power_of_two());
        }
        self.length = length;
    }

    /// The octets.
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    /// The octets, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_on_a_page_boundary_while_it_grows() {
        let mut buffer = AlignedBuffer::default();
        for length in [1, 4_096, 4_097, 70_000, 12, 1 << 20] {
            buffer.resize(length);
            assert_eq!(buffer.as_slice().len(), length);
            assert_eq!(buffer.as_slice().as_ptr() as usize % PAGE_BYTES, 0, "{length}");
        }
    }
}
