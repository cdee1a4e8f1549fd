pub mod pb { pub mod v1 { tonic::include_proto!("bearerd.v1"); } }
