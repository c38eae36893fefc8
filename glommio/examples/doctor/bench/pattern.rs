//! File contents that say where they belong, so that a read can be checked.

/// Distance between stamps; also the smallest block that can be checked.
pub const STAMP_INTERVAL_BYTES: usize = 4096;

const STAMP_BYTES: usize = size_of::<u64>();

/// Contents for files: incompressible bytes, stamped with their position.
pub struct Pattern {
    filler: Vec<u8>,
}

impl Pattern {
    /// Prepares filler for buffers of up to `length` bytes.
    pub fn new(length: usize) -> Pattern {
        let mut filler = vec![0; length];
        // A fixed seed: two runs write the same bytes.
        fastrand::Rng::with_seed(1).fill(&mut filler);
        Pattern { filler }
    }

    /// Fills `buffer` with what belongs at `offset`, a multiple of the interval.
    pub fn fill(&self, buffer: &mut [u8], offset: u64) {
        assert_eq!(offset % STAMP_INTERVAL_BYTES as u64, 0);
        buffer.copy_from_slice(&self.filler[..buffer.len()]);
        for (index, block) in buffer.chunks_exact_mut(STAMP_INTERVAL_BYTES).enumerate() {
            block[..STAMP_BYTES].copy_from_slice(&stamp(offset, index));
        }
    }
}

/// Whether every whole block of `buffer` carries the stamp of its place in the file.
pub fn belongs_at(buffer: &[u8], offset: u64) -> bool {
    buffer
        .chunks_exact(STAMP_INTERVAL_BYTES)
        .enumerate()
        .all(|(index, block)| block[..STAMP_BYTES] == stamp(offset, index))
}

fn stamp(offset: u64, index: usize) -> [u8; STAMP_BYTES] {
    // The complement keeps block 0 from being all zeros, as a hole would be.
    (!(offset + (index * STAMP_INTERVAL_BYTES) as u64)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_buffers_belong_where_they_were_filled_for() {
        let pattern = Pattern::new(4 * STAMP_INTERVAL_BYTES);
        let mut buffer = vec![0; 4 * STAMP_INTERVAL_BYTES];
        for offset in [0, 4096, 1 << 30] {
            pattern.fill(&mut buffer, offset);
            assert!(belongs_at(&buffer, offset));
            assert!(!belongs_at(&buffer, offset + 4096));
        }
    }

    #[test]
    fn holes_belong_nowhere() {
        let hole = [0; STAMP_INTERVAL_BYTES];
        assert!(!belongs_at(&hole, 0));
        assert!(!belongs_at(&hole, 4096));
    }

    #[test]
    fn one_misplaced_block_is_noticed() {
        let mut buffer = vec![0; 2 * STAMP_INTERVAL_BYTES];
        Pattern::new(buffer.len()).fill(&mut buffer, 0);
        assert!(belongs_at(&buffer, 0));
        buffer[STAMP_INTERVAL_BYTES] ^= 1;
        assert!(!belongs_at(&buffer, 0));
    }
}
