//! The server: unary echo, a bidi stream of echoes, one payload many times over, and signing.

use std::iter::repeat_n;
use std::pin::Pin;

use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::benchmarks::v1::repeat_service_server::{RepeatService, RepeatServiceServer};
use crate::crypto::v1::crypto_service_server::CryptoServiceServer;
use crate::echo::v1::echo_service_server::{EchoService, EchoServiceServer};
use crate::echo::v1::{EchoRequest, EchoResponse};
use crate::sign::Signer;
use crate::{CONNECTION_WINDOW_BYTES, Failure, MAX_MESSAGE_BYTES, STREAM_WINDOW_BYTES};

type Responses = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

struct Echo;

#[tonic::async_trait]
impl EchoService for Echo {
    type EchoStreamStream = Responses;

    async fn echo(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        Ok(Response::new(EchoResponse { payload: request.into_inner().payload }))
    }

    async fn echo_stream(&self, request: Request<Streaming<EchoRequest>>) -> Result<Response<Responses>, Status> {
        let requests = request.into_inner();
        let responses = requests.map(|each| each.map(|request| EchoResponse { payload: request.payload }));
        Ok(Response::new(Box::pin(responses)))
    }
}

struct Repeat;

#[tonic::async_trait]
impl RepeatService for Repeat {
    type RepeatStream = Responses;

    async fn repeat(&self, request: Request<EchoRequest>) -> Result<Response<Responses>, Status> {
        let payload = request.into_inner().payload;
        let responses = repeat_n(EchoResponse { payload }, 64).map(Ok);
        Ok(Response::new(Box::pin(tokio_stream::iter(responses))))
    }
}

pub async fn serve(address: &str) -> Result<(), Failure> {
    let listener = TcpListener::bind(address).await?;
    eprintln!("listening on {}", listener.local_addr()?);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(EchoServiceServer::new(Echo).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(RepeatServiceServer::new(Repeat).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(CryptoServiceServer::new(Signer::generate()?))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}
