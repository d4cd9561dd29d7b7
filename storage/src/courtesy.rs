//! The processor, for whoever waits for it.
//!
//! Long reads and loads run on threads of a pool, beside the one thread that puts wait for. A kernel
//! that does not preempt lets a running thread keep its processor until the next tick, 4 ms at 250 Hz:
//! on a machine with few processors that is what a put would wait, again and again. So such work offers
//! its processor after every few records; where nobody wants it that costs a system call.

/// Records between two offers: reading them takes a small part of a tick.
const RECORDS: u32 = 32;

/// The same items; between them whatever else is runnable runs. For work that takes a whole store, and
/// not on the thread that puts wait for.
pub(crate) fn courteously<I: Iterator>(items: I) -> impl Iterator<Item = I::Item> {
    let mut records = 0_u32;
    items.inspect(move |_| {
        records += 1;
        if records.is_multiple_of(RECORDS) {
            std::thread::yield_now();
        }
    })
}
