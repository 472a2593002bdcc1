//! Echo on tonic, server and load generator, each on one thread.
//!
//!     tonic-peer serve [ADDR]     says "listening on ADDR" on stderr, and serves until it is ended
//!     tonic-peer call ADDR        answers one JSON line per JSON line of stdin, see `call.rs`

mod call;
mod serve;
mod sign;

pub mod crypto {
    pub mod v1 {
        tonic::include_proto!("crypto.v1");
    }
}

pub mod echo {
    pub mod v1 {
        tonic::include_proto!("echo.v1");
    }
}

pub mod benchmarks {
    pub mod v1 {
        tonic::include_proto!("benchmarks.v1");
    }
}

pub type Failure = Box<dyn std::error::Error>;

/// Windows of a stream and of a connection, so that flow control is not what is measured.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => runtime.block_on(serve::serve("127.0.0.1:0")),
        ["serve", address] => runtime.block_on(serve::serve(address)),
        ["call", address] => call::answer(&runtime, address),
        _ => Err("usage: tonic-peer serve [ADDR] | call ADDR".into()),
    }
}
