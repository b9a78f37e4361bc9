pub struct Config;
pub struct FcmGateway;
