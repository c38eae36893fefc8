//! Files that bypass the page cache.

use std::{
    cell::Cell,
    ffi::CString,
    fmt, io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    rc::Rc,
};

use crate::{
    error::{GlommioError, Result},
    io::{DmaBuffer, ReadResult},
    reactor::{self, Reactor},
    sys::{
        fd::{self, Fd},
        op::{
            Completion, Operation, Polling, Transfer,
            file::{Close, Fsync, OpenAt, ReadDma, Statx, WriteBuffer, WriteDma},
            open::{
                FACTS_MASK, FileFacts, OpenMode, WORKING_DIRECTORY, is_a_directory, refuses_direct,
            },
        },
        storage::BlockDevice,
        submission::Submission,
    },
};

/// The alignment that is used where neither the file system nor the device tells.
const FALLBACK_ALIGNMENT: u64 = 4096;

/// The most that one operation transfers; larger requests are split. The kernel's own bound is
/// 2 GiB; a bounded size keeps one request from holding a device for seconds.
const MAX_TRANSFER: usize = 16 << 20;

/// A file for direct I/O.
///
/// Offsets, lengths and buffers of direct I/O are aligned to the device's block. Reads with
/// [`read_at`](Self::read_at) may start and end anywhere: the file reads the blocks around. Writes
/// must be aligned. Where the file system has no direct I/O (some do not), the file works through the
/// page cache.
///
/// On a device that has poll queues, the completions of reads and writes of up to 128 KiB are polled
/// for, which saves the interrupt: while they are in flight and nothing else is to do, the executor spins, for 200 µs
/// at most after the last completion, and then naps between two looks. [`IoStats::poll_ring`] counts
/// them.
///
/// [`IoStats::poll_ring`]: crate::IoStats::poll_ring
///
/// Close it with [`close`](Self::close) to see errors. A file that is dropped is closed in the
/// background.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, io::DmaFile};
///
/// let dir = tempfile::tempdir().unwrap();
/// LocalExecutor::default().run(async {
///     let file = DmaFile::create(dir.path().join("file")).await?;
///     let mut buffer = file.alloc_dma_buffer(4096);
///     buffer.as_bytes_mut().fill(b'x');
///     file.write_at(buffer, 0).await?;
///     let read = file.read_at(10, 3).await?;
///     assert_eq!(&*read, b"xxx");
///     file.close().await
/// })?;
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
pub struct DmaFile {
    fd: Fd,
    reactor: Rc<Reactor>,
    path: PathBuf,
    alignment: u64,
    facts: FileFacts,
    /// Reads and writes of up to so many bytes go to the ring that polls.
    pub(super) polled_bytes: Cell<u32>,
}

impl DmaFile {
    /// Creates a file, or makes an existing one empty, and opens it to read and write.
    ///
    /// # Errors
    ///
    /// Those of open(2), with the path.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    pub async fn create<P: AsRef<Path>>(path: P) -> Result<DmaFile, ()> {
        let mode = OpenMode {
            read: true,
            write: true,
            create: true,
            truncate: true,
            ..OpenMode::default()
        };
        DmaFile::open_with(path.as_ref(), mode, 0o644, "Creating").await
    }

    /// Opens a file to read.
    ///
    /// # Errors
    ///
    /// Those of open(2), with the path; a directory is an error.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    pub async fn open<P: AsRef<Path>>(path: P) -> Result<DmaFile, ()> {
        let mode = OpenMode {
            read: true,
            ..OpenMode::default()
        };
        DmaFile::open_with(path.as_ref(), mode, 0o644, "Opening").await
    }

    pub(super) async fn open_with(
        path: &Path,
        mode: OpenMode,
        permissions: u32,
        op: &'static str,
    ) -> Result<DmaFile, ()> {
        let failed = |error| GlommioError::create_enhanced(error, op, Some(path), None);
        let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why);
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| failed(invalid("a path cannot hold a zero byte")))?;
        let reactor = reactor::current();
        let open = async |direct| {
            let flags = mode.flags(direct).map_err(invalid)?;
            let op = OpenAt {
                dir: WORKING_DIRECTORY,
                path: name.clone(),
                flags,
                mode: permissions,
            };
            let (_, completion) = reactor.submit(op).await;
            completion.count()
        };
        let (raw, direct) = match open(true).await {
            Err(error) if refuses_direct(&error) => {
                let raw = open(false).await.map_err(failed)?;
                tracing::debug!(
                    target: "glommio::io",
                    path = %path.display(),
                    "the file system has no direct I/O: using the page cache"
                );
                (raw, false)
            }
            other => (other.map_err(failed)?, true),
        };
        let fd = Fd::of_file(fd::adopt(raw as i32), reactor.ring().clone());
        let (stat, completion) = reactor.submit(Statx::new(fd.clone(), FACTS_MASK)).await;
        completion.count().map_err(failed)?;
        let facts = FileFacts::from(&*stat.out);
        drop(stat);
        if facts.is_directory {
            return Err(failed(is_a_directory()));
        }
        let alignment = match facts.direct_alignment {
            Some(told) => u64::from(told),
            None => BlockDevice::of_number(facts.device.0, facts.device.1)
                .map_or(FALLBACK_ALIGNMENT, |device| {
                    device.logical_block_size as u64
                }),
        };
        let polled_bytes = match direct {
            true => reactor.largest_polled_transfer(facts.device),
            false => 0,
        };
        Ok(DmaFile {
            fd,
            reactor,
            path: path.to_path_buf(),
            alignment: alignment.next_power_of_two().clamp(512, 4096),
            facts,
            polled_bytes: Cell::new(polled_bytes),
        })
    }

    fn submit<O: Operation>(&self, op: O) -> Submission<O> {
        self.reactor.submit(op)
    }

    /// Reads or writes: where the device is polled if it can be, else on the main ring.
    async fn transfer<O: Transfer>(&self, mut op: O) -> (O, Completion) {
        if op.bytes() > self.polled_bytes.get() {
            return self.submit(op).await;
        }
        // Buffers are registered with the main ring only.
        let fixed = op.fixed().take();
        let (mut op, completion) = self.reactor.submit_polled(op).await;
        match Polling::of(completion) {
            Polling::Done => return (op, completion),
            Polling::Busy => {}
            Polling::Unsupported => {
                self.polled_bytes.set(0);
                tracing::debug!(
                    target: "glommio::io",
                    path = %self.path.display(),
                    "the file cannot be polled after all: waiting for interrupts"
                );
            }
        }
        *op.fixed() = fixed;
        self.submit(op).await
    }

    fn failed(&self, op: &'static str) -> impl Fn(io::Error) -> GlommioError<()> + '_ {
        move |error| GlommioError::create_enhanced(error, op, Some(&self.path), Some(self.fd.raw()))
    }

    /// The alignment, in bytes, of offsets and lengths of direct I/O on this file.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// The largest aligned position not above `v`.
    pub fn align_down(&self, v: u64) -> u64 {
        v & !(self.alignment - 1)
    }

    /// The smallest aligned position not below `v`, saturating.
    pub fn align_up(&self, v: u64) -> u64 {
        self.align_down(v.saturating_add(self.alignment - 1))
    }

    /// The path that the file was opened with.
    pub fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    /// The inode number.
    pub fn inode(&self) -> u64 {
        self.facts.inode
    }

    /// The major number of the device that holds the file.
    pub fn dev_major(&self) -> u32 {
        self.facts.device.0
    }

    /// The minor number of the device that holds the file.
    pub fn dev_minor(&self) -> u32 {
        self.facts.device.1
    }

    /// A buffer that fits this file, of `size` bytes rounded up to its alignment.
    ///
    /// # Panics
    ///
    /// When the system is out of memory.
    pub fn alloc_dma_buffer(&self, size: usize) -> DmaBuffer {
        let bytes = self.align_up(size as u64) as usize;
        match self.reactor.alloc_dma(bytes) {
            Ok(buffer) => buffer,
            Err(error) => panic!("cannot allocate a DMA buffer of {bytes} bytes: {error}"),
        }
    }

    /// Reads `size` bytes at `pos`, both of any value; less at the end of the file.
    ///
    /// The blocks around are read, and the result is a view of the part that was asked for.
    ///
    /// # Errors
    ///
    /// Those of the device, with path and descriptor.
    ///
    /// # Cancel safety
    ///
    /// The buffer of a dropped read stays with the ring until the kernel lets go of it.
    pub async fn read_at(&self, pos: u64, size: usize) -> Result<ReadResult, ()> {
        let start = self.align_down(pos);
        let lead = (pos - start) as usize;
        let len = self.align_up((lead as u64).saturating_add(size as u64)) as usize;
        let (buffer, read) = self.fill(start, len).await?;
        let available = read.saturating_sub(lead).min(size);
        Ok(buffer.into_read_result(lead.min(read), available))
    }

    /// As [`read_at`](Self::read_at), for a position and size that are aligned.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if they are not.
    pub async fn read_at_aligned(&self, pos: u64, size: usize) -> Result<ReadResult, ()> {
        self.check_alignment("Reading", pos, size)?;
        let (buffer, read) = self.fill(pos, size).await?;
        Ok(buffer.into_read_result(0, read))
    }

    /// Reads `len` aligned bytes at the aligned `start`. Returns the buffer and how much was read.
    async fn fill(&self, start: u64, len: usize) -> Result<(DmaBuffer, usize), ()> {
        let failed = self.failed("Reading");
        let mut buffer = self.reactor.alloc_dma(len).map_err(&failed)?;
        let mut done = 0;
        while done < len {
            let op = ReadDma {
                fd: self.fd.clone(),
                fixed: buffer.fixed_index(),
                buffer,
                offset: start + done as u64,
                start: done,
                len: (len - done).min(MAX_TRANSFER) as u32,
            };
            let (op, completion) = self.transfer(op).await;
            let asked = op.len as usize;
            buffer = op.buffer;
            let n = completion.count().map_err(&failed)?;
            done += n;
            // A short read ends at the end of the file, unless it is still aligned: then ask again.
            if n < asked && (n == 0 || n as u64 % self.alignment != 0) {
                break;
            }
        }
        Ok((buffer, done))
    }

    fn check_alignment(&self, op: &'static str, pos: u64, size: usize) -> Result<(), ()> {
        if pos % self.alignment == 0 && size as u64 % self.alignment == 0 {
            return Ok(());
        }
        let why = format!(
            "position {pos} and size {size} must be multiples of {}, the alignment of direct I/O \
             on this file (DmaFile::alignment)",
            self.alignment
        );
        Err(self.failed(op)(io::Error::new(
            io::ErrorKind::InvalidInput,
            why,
        )))
    }

    /// Writes a buffer at `pos`. Position and length must be aligned.
    ///
    /// Returns the number of bytes written, which is the buffer's length. The data is on its way to
    /// the device, but may stand in the device's cache: see [`fdatasync`](Self::fdatasync).
    ///
    /// # Errors
    ///
    /// `InvalidInput` if position or length are not aligned; those of the device, with path and
    /// descriptor.
    ///
    /// # Cancel safety
    ///
    /// A write whose future is dropped may or may not take place, whole or in part.
    pub async fn write_at(&self, buf: DmaBuffer, pos: u64) -> Result<usize, ()> {
        self.write(WriteBuffer::Owned(buf), pos).await
    }

    /// As [`write_at`](Self::write_at), for a shared buffer.
    pub async fn write_rc_at(&self, buf: Rc<DmaBuffer>, pos: u64) -> Result<usize, ()> {
        self.write(WriteBuffer::Shared(buf), pos).await
    }

    async fn write(&self, mut buffer: WriteBuffer, pos: u64) -> Result<usize, ()> {
        let len = buffer.get().len();
        self.check_alignment("Writing", pos, len)?;
        let failed = self.failed("Writing");
        let fixed = self.reactor.fixed_index_of(buffer.get());
        let mut done = 0;
        while done < len {
            let op = WriteDma {
                fd: self.fd.clone(),
                buffer,
                fixed,
                offset: pos + done as u64,
                start: done,
                len: (len - done).min(MAX_TRANSFER) as u32,
            };
            let (op, completion) = self.transfer(op).await;
            buffer = op.buffer;
            match completion.count().map_err(&failed)? {
                0 => return Err(failed(io::ErrorKind::WriteZero.into())),
                n => done += n,
            }
        }
        Ok(done)
    }

    /// Waits until all data written so far is on stable storage.
    ///
    /// # Errors
    ///
    /// Those of fdatasync(2), with path and descriptor.
    pub async fn fdatasync(&self) -> Result<(), ()> {
        let op = Fsync {
            fd: self.fd.clone(),
            data_only: true,
        };
        let (_, completion) = self.submit(op).await;
        completion.count().map_err(self.failed("Syncing"))?;
        Ok(())
    }

    /// The size of the file now, in bytes.
    ///
    /// # Errors
    ///
    /// Those of statx(2), with path and descriptor.
    pub async fn file_size(&self) -> Result<u64, ()> {
        let (stat, completion) = self.submit(Statx::new(self.fd.clone(), FACTS_MASK)).await;
        completion.count().map_err(self.failed("Describing"))?;
        Ok(FileFacts::from(&*stat.out).size)
    }

    /// Closes the file and reports what the kernel says.
    ///
    /// If operations of dropped futures are still in flight, the descriptor is closed after the last
    /// of them.
    ///
    /// # Errors
    ///
    /// Those of close(2), with the path.
    pub async fn close(self) -> Result<(), ()> {
        let DmaFile {
            fd, reactor, path, ..
        } = self;
        match fd.try_into_owned() {
            Ok(fd) => {
                let raw = fd.as_raw_fd();
                let (_, completion) = reactor.submit(Close::new(fd)).await;
                completion.count().map_err(|error| {
                    GlommioError::create_enhanced(error, "Closing", Some(&path), Some(raw))
                })?;
                Ok(())
            }
            Err(_shared) => Ok(()),
        }
    }
}

impl AsRawFd for DmaFile {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.raw()
    }
}

impl fmt::Debug for DmaFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaFile")
            .field("path", &self.path)
            .field("fd", &self.fd.raw())
            .field("alignment", &self.alignment)
            .finish()
    }
}
