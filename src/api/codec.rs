//! How answers become bytes: messages by prost, ready bytes as they are.
//!
//! A job is shown many times before it changes: it is encoded once, and this codec hands the ready bytes on. Compression,
//! where a client asks for it, and the length before each message remain tonic's. Watches mostly leave without it, see
//! `outlet`.

use std::fmt;
use std::marker::PhantomData;

use bytes::{BufMut, Bytes};
use prost::Message;
use tonic::Status;
use tonic::codec::{self, BufferSettings, EncodeBuf, Encoder};
use tonic_prost::ProstDecoder;

/// One encoded message: a `WatchJobsResponse`, equally a `WatchJobResponse`; or a `GetJobResponse`.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(pub Bytes);

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.0.len())
    }
}

/// What a service can answer.
pub trait Outgoing: Send + 'static {
    /// How much room a call's buffer has at first, in bytes. It is kept for as long as the call lasts, and tonic sends
    /// once it has gathered the second figure.
    const BUFFER: (usize, usize);

    /// How long it is, in bytes.
    fn length(&self) -> usize;

    /// Appends it.
    fn append(self, buffer: &mut EncodeBuf<'_>);
}

impl<T: Message + 'static> Outgoing for T {
    const BUFFER: (usize, usize) = (8 << 10, 32 << 10);

    fn length(&self) -> usize {
        self.encoded_len()
    }

    fn append(self, buffer: &mut EncodeBuf<'_>) {
        self.encode_raw(buffer);
    }
}

impl Outgoing for Frame {
    // A compressed watch keeps its buffer for an hour, mostly empty: room for one usual event.
    const BUFFER: (usize, usize) = (2 << 10, 32 << 10);

    fn length(&self) -> usize {
        self.0.len()
    }

    fn append(self, buffer: &mut EncodeBuf<'_>) {
        buffer.put_slice(&self.0);
    }
}

/// The codec of every service: `T` out, `U` in.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Outgoing, U: Message + Default + 'static> codec::Codec for Codec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = Writer<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Writer<T> {
        Writer(PhantomData)
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        ProstDecoder::default()
    }
}

/// Writes answers.
#[derive(Debug)]
pub struct Writer<T>(PhantomData<T>);

impl<T: Outgoing> Encoder for Writer<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(item.length());
        item.append(buffer);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        let (room, enough) = T::BUFFER;
        BufferSettings::new(room, enough)
    }
}
