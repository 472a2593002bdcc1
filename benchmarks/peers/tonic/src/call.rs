//! The load generator. In, on stdin, a JSON line for each sample:
//!
//!     {"kind": "unary",     "payload_bytes", "seconds", "connections", "in_flight"}     calls, so many on each connection
//!     {"kind": "ping-pong", "payload_bytes", "seconds", "connections", "in_flight"}     the same of messages on bidi streams
//!     {"kind": "flood",     "payload_bytes", "seconds"}                one bidi stream, written as fast as it takes messages
//!     {"kind": "repeat",    "payload_bytes", "seconds"}                server-streamed responses, one call after the other
//!
//! Out: {"count", "seconds", "cpu_s"} of this process, and "p50_us" where each answer is waited for.

use std::cell::RefCell;
use std::io::BufRead;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};

use crate::benchmarks::v1::repeat_service_client::RepeatServiceClient;
use crate::echo::v1::EchoRequest;
use crate::echo::v1::echo_service_client::EchoServiceClient;
use crate::{CONNECTION_WINDOW_BYTES, Failure, MAX_MESSAGE_BYTES, STREAM_WINDOW_BYTES};

#[derive(Clone)]
struct Sample {
    request: EchoRequest,
    until: Instant,
    /// How long each answer took; of streams that are not waited for, nothing.
    latencies: Rc<RefCell<Vec<Duration>>>,
}

impl Sample {
    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }
}

pub fn answer(runtime: &Runtime, address: &str) -> Result<(), Failure> {
    let mut channels = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line?)?;
        let answer = LocalSet::new().block_on(runtime, sample(&asked, address, &mut channels))?;
        println!("{answer}");
    }
    Ok(())
}

async fn connect(address: &str) -> Result<Channel, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .tcp_nodelay(true);
    Ok(endpoint.connect().await?)
}

async fn sample(asked: &Value, address: &str, channels: &mut Vec<Channel>) -> Result<Value, Failure> {
    let number = |name: &str| asked[name].as_u64().unwrap_or(1) as usize;
    while channels.len() < number("connections") {
        channels.push(connect(address).await?);
    }
    let payload = vec![0; number("payload_bytes")].into();
    let (started, cpu_s) = (Instant::now(), process_cpu_s());
    let until = started + Duration::from_secs_f64(asked["seconds"].as_f64().unwrap_or(1.0));
    let sample = Sample { request: EchoRequest { payload }, until, latencies: Rc::default() };
    let mut count = 0;
    match asked["kind"].as_str() {
        Some("flood") => count = flood(channels[0].clone(), sample.clone()).await?,
        Some("repeat") => count = repeat(channels[0].clone(), sample.clone()).await?,
        kind => {
            let mut callers = Vec::new();
            for channel in &channels[..number("connections")] {
                for _ in 0..number("in_flight") {
                    let (channel, sample) = (channel.clone(), sample.clone());
                    callers.push(match kind {
                        Some("unary") => tokio::task::spawn_local(unary(channel, sample)),
                        Some("ping-pong") => tokio::task::spawn_local(ping_pong(channel, sample)),
                        _ => return Err(format!("there is no kind {kind:?}").into()),
                    });
                }
            }
            for caller in callers {
                caller.await??;
            }
        }
    }
    let mut latencies = sample.latencies.borrow_mut();
    count += latencies.len();
    latencies.sort_unstable();
    let p50_us = latencies.get(latencies.len() / 2).map(|latency| latency.as_secs_f64() * 1e6);
    let seconds = started.elapsed().as_secs_f64();
    Ok(json!({"count": count, "seconds": seconds, "cpu_s": process_cpu_s() - cpu_s, "p50_us": p50_us}))
}

fn client(channel: Channel) -> EchoServiceClient<Channel> {
    EchoServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

async fn unary(channel: Channel, sample: Sample) -> Result<(), tonic::Status> {
    let mut client = client(channel);
    while sample.goes_on() {
        let sent = Instant::now();
        client.echo(sample.request.clone()).await?;
        sample.latencies.borrow_mut().push(sent.elapsed());
    }
    Ok(())
}

async fn ping_pong(channel: Channel, sample: Sample) -> Result<(), tonic::Status> {
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(requests);
    let gone = |_| tonic::Status::unknown("the call is over");
    let mut sent = Instant::now();
    sender.send(sample.request.clone()).await.map_err(gone)?;
    let mut responses = client(channel).echo_stream(stream).await?.into_inner();
    while responses.message().await?.is_some() {
        sample.latencies.borrow_mut().push(sent.elapsed());
        if !sample.goes_on() {
            break;
        }
        sent = Instant::now();
        sender.send(sample.request.clone()).await.map_err(gone)?;
    }
    Ok(())
}

async fn flood(channel: Channel, sample: Sample) -> Result<usize, tonic::Status> {
    let (request, until) = (sample.request, sample.until);
    let requests = std::iter::from_fn(move || (Instant::now() < until).then(|| request.clone()));
    let mut responses = client(channel).echo_stream(tokio_stream::iter(requests)).await?.into_inner();
    let mut count = 0;
    while let Some(response) = responses.next().await {
        response?;
        count += 1;
    }
    Ok(count)
}

async fn repeat(channel: Channel, sample: Sample) -> Result<usize, tonic::Status> {
    let mut client = RepeatServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut count = 0;
    while sample.goes_on() {
        let mut responses = client.repeat(sample.request.clone()).await?.into_inner();
        while responses.message().await?.is_some() {
            count += 1;
        }
    }
    Ok(count)
}

/// User and system time of this process.
fn process_cpu_s() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it is given a valid place to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
