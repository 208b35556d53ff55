//! The settings of haproxy: a proxy a lane.

use std::fmt::Write;
use std::path::Path;

use plexsphere_client::BoxError;

use super::lane::{CUT_AFTER, Lane, Transport, Trial};

const HEAD: &str = "\
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
";

/// Writes `haproxy.cfg`; returns its name.
pub fn write_to<'a>(dir: &Path, lanes: impl Iterator<Item = &'a Lane>) -> Result<String, BoxError> {
    let mut text = HEAD.to_owned();
    for lane in lanes {
        let alpn = match lane.transport {
            Transport::Plain => "",
            Transport::TlsHttp1 => " ssl crt server.pem alpn http/1.1",
            Transport::TlsHttp2 => " ssl crt server.pem alpn h2,http/1.1",
        };
        let (bind, more) = directives(lane.trial);
        writeln!(
            text,
            "listen lane{port}\n    bind 127.0.0.1:{port}{alpn}{bind}\n    \
             http-request set-header X-Client-Protocol HTTP/%[req.ver]\n    {more}\n    \
             server mock {}",
            lane.mock.address(),
            port = lane.port,
        )?;
    }
    std::fs::write(dir.join("haproxy.cfg"), text)?;
    Ok("haproxy.cfg".to_owned())
}

/// What stands on the `bind` line, and in the proxy.
fn directives(trial: Trial) -> (&'static str, String) {
    match trial {
        Trial::IdleCut => ("", format!("timeout server {}s", CUT_AFTER.as_secs())),
        Trial::Compressed => (
            "",
            "compression algo gzip\n    compression type application/json text/event-stream"
                .to_owned(),
        ),
        Trial::ClientCertificate => (" ca-file ca.pem verify required", String::new()),
        // Without it each event waits up to 200 ms for more that may follow.
        Trial::Flows => ("", "option http-no-delay".to_owned()),
        _ => ("", String::new()),
    }
}
