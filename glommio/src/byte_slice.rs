//! Copying into and out of anything that is a slice of bytes.

/// Copies out of anything that is a slice of bytes, from a position on.
///
/// For DMA buffers, [`ReadResult`](crate::io::ReadResult), arrays, vectors and all else that is
/// `AsRef<[u8]>`.
///
/// # Examples
///
/// ```
/// use glommio::ByteSliceExt;
///
/// let page = b"header: payload";
/// let mut payload = [0; 4];
/// assert_eq!(page.read_at(8, &mut payload), 4);
/// assert_eq!(&payload, b"payl");
/// ```
pub trait ByteSliceExt {
    /// Copies the bytes from `offset` on to the start of `destination`, and gives their number.
    ///
    /// That is as many as there are behind `offset`, or as `destination` holds, whichever is less:
    /// 0 if `offset` is at the end or beyond. The rest of `destination` stays as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::ByteSliceExt;
    ///
    /// let mut copy = vec![0; 4];
    /// assert_eq!([1, 2, 3].read_at(1, &mut copy), 2);
    /// assert_eq!(copy, [2, 3, 0, 0]);
    /// assert_eq!([1, 2, 3].read_at(7, &mut copy), 0);
    /// ```
    fn read_at<D: AsMut<[u8]> + ?Sized>(&self, offset: usize, destination: &mut D) -> usize;
}

/// Copies into anything that is a mutable slice of bytes, from a position on.
///
/// # Examples
///
/// ```
/// use glommio::{ByteSliceMutExt, LocalExecutor, allocate_dma_buffer};
///
/// LocalExecutor::default().run(async {
///     let mut page = allocate_dma_buffer(4096);
///     page.memset(0);
///     assert_eq!(page.write_at(16, b"payload"), 7);
///     assert_eq!(&page.as_bytes()[14..24], b"\0\0payload\0");
/// });
/// ```
pub trait ByteSliceMutExt {
    /// Copies bytes from the start of `src` to `offset`, and gives their number.
    ///
    /// That is as many as fit behind `offset`, or as `src` has, whichever is less: 0 if `offset` is
    /// at the end or beyond. The other bytes stay as they are.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::ByteSliceMutExt;
    ///
    /// let mut page = [0; 4];
    /// assert_eq!(page.write_at(2, &[7, 8, 9]), 2);
    /// assert_eq!(page, [0, 0, 7, 8]);
    /// ```
    fn write_at<S: AsRef<[u8]> + ?Sized>(&mut self, offset: usize, src: &S) -> usize;

    /// Sets every byte to `value`.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::ByteSliceMutExt;
    ///
    /// let mut page = [0; 4];
    /// page.memset(7);
    /// assert_eq!(page, [7; 4]);
    /// ```
    fn memset(&mut self, value: u8);
}

impl<T: AsRef<[u8]> + ?Sized> ByteSliceExt for T {
    fn read_at<D: AsMut<[u8]> + ?Sized>(&self, offset: usize, destination: &mut D) -> usize {
        copy(
            self.as_ref().get(offset..).unwrap_or_default(),
            destination.as_mut(),
        )
    }
}

impl<T: AsMut<[u8]> + ?Sized> ByteSliceMutExt for T {
    fn write_at<S: AsRef<[u8]> + ?Sized>(&mut self, offset: usize, src: &S) -> usize {
        copy(
            src.as_ref(),
            self.as_mut().get_mut(offset..).unwrap_or_default(),
        )
    }

    fn memset(&mut self, value: u8) {
        self.as_mut().fill(value);
    }
}

/// Copies as much as both sides have.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let len = from.len().min(to.len());
    to[..len].copy_from_slice(&from[..len]);
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reading_stops_where_either_side_ends() {
        let source: &[u8] = &[1, 2, 3, 4];
        let mut small = [0; 2];
        assert_eq!(source.read_at(1, &mut small), 2);
        assert_eq!(small, [2, 3]);
        let mut large = vec![9; 6];
        assert_eq!(source.read_at(2, &mut large), 2);
        assert_eq!(large, [3, 4, 9, 9, 9, 9]);
    }

    #[test]
    fn a_position_at_the_end_or_beyond_copies_nothing() {
        let mut bytes = [5; 3];
        for offset in [3, 4, usize::MAX] {
            let mut out = [9; 3];
            assert_eq!(bytes.read_at(offset, &mut out), 0);
            assert_eq!(out, [9; 3]);
            assert_eq!(bytes.write_at(offset, &[1]), 0);
        }
        assert_eq!(bytes, [5; 3]);
        let nothing: [u8; 0] = [];
        assert_eq!(bytes.write_at(0, &nothing), 0);
    }

    #[test]
    fn unsized_and_owned_sources_work_alike() {
        let mut page = vec![0; 4].into_boxed_slice();
        assert_eq!(page.write_at(1, "ab"), 2);
        assert_eq!(&page[..], b"\0ab\0");
        let slice: &mut [u8] = &mut page;
        slice.memset(1);
        assert_eq!(slice, [1; 4]);
    }

    proptest! {
        #![proptest_config(crate::test_cases::cases(256))]

        #[test]
        fn what_was_written_is_read_back_and_nothing_else_changes(
            before in proptest::collection::vec(any::<u8>(), 0..64),
            data in proptest::collection::vec(any::<u8>(), 0..64),
            offset in 0_usize..80,
        ) {
            let mut page = before.clone();
            let written = page.write_at(offset, &data);
            prop_assert_eq!(written, data.len().min(before.len().saturating_sub(offset)));
            let mut back = vec![0; written];
            prop_assert_eq!(page.read_at(offset, &mut back), written);
            prop_assert_eq!(&back, &data[..written]);
            let start = offset.min(before.len());
            prop_assert_eq!(&page[..start], &before[..start]);
            prop_assert_eq!(&page[start + written..], &before[start + written..]);
        }
    }
}
