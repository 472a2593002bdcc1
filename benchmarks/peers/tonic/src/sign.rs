//! P-256 signatures by ring, inline in the handler, as our server makes them.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use tonic::{Request, Response, Status};

use crate::Failure;
use crate::crypto::v1::crypto_service_server::CryptoService;
use crate::crypto::v1::{Algorithm, GetPublicKeyRequest, GetPublicKeyResponse, SignRequest, SignResponse};

pub struct Signer {
    key: EcdsaKeyPair,
    key_id: String,
    random: SystemRandom,
}

impl Signer {
    pub fn generate() -> Result<Self, Failure> {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| "no key could be made")?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).map_err(|error| error.to_string())?;
        Ok(Self { key, key_id: "0".repeat(32), random })
    }
}

#[tonic::async_trait]
impl CryptoService for Signer {
    async fn sign(&self, request: Request<SignRequest>) -> Result<Response<SignResponse>, Status> {
        let request = request.into_inner();
        if request.algorithm() != Algorithm::EcdsaP256Sha256Asn1 {
            return Err(Status::unimplemented("this peer signs with P-256 and SHA-256 only"));
        }
        let signature =
            self.key.sign(&self.random, &request.data).map_err(|_| Status::internal("it was not signed"))?;
        let signature = signature.as_ref().to_vec().into();
        Ok(Response::new(SignResponse { signature, key_id: self.key_id.clone() }))
    }

    async fn get_public_key(&self, _: Request<GetPublicKeyRequest>) -> Result<Response<GetPublicKeyResponse>, Status> {
        Err(Status::unimplemented("this peer only signs"))
    }
}
