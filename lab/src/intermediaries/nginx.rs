//! The settings of nginx: a server block a lane.

use std::fmt::Write;
use std::path::Path;

use plexsphere_client::BoxError;

use super::lane::{CUT_AFTER, Lane, Transport, Trial};

const HEAD: &str = "\
daemon off;
master_process off;
pid nginx.pid;
error_log nginx-error.log;
events { worker_connections 512; }
http {
    log_format lane '$server_port $uri $server_protocol $gzip_ratio';
    access_log nginx-access.log lane;
    client_body_temp_path nginx-body;
    proxy_temp_path nginx-proxy;
    fastcgi_temp_path nginx-fastcgi;
    uwsgi_temp_path nginx-uwsgi;
    scgi_temp_path nginx-scgi;
";

/// Writes `nginx.conf`; returns its name.
pub fn write_to<'a>(dir: &Path, lanes: impl Iterator<Item = &'a Lane>) -> Result<String, BoxError> {
    let mut text = HEAD.to_owned();
    for lane in lanes {
        server(&mut text, lane)?;
    }
    text.push_str("}\n");
    std::fs::write(dir.join("nginx.conf"), text)?;
    Ok("nginx.conf".to_owned())
}

fn server(text: &mut String, lane: &Lane) -> Result<(), std::fmt::Error> {
    let how = match lane.transport {
        Transport::Plain => "",
        Transport::TlsHttp1 => " ssl",
        Transport::TlsHttp2 => " ssl http2",
    };
    writeln!(text, "    server {{\n        listen 127.0.0.1:{}{how};", lane.port)?;
    if lane.is_tls() {
        writeln!(
            text,
            "        ssl_certificate server.crt;\n        ssl_certificate_key server.key;"
        )?;
    }
    writeln!(text, "        {}", directives(lane.trial))?;
    writeln!(
        text,
        "        location / {{\n            proxy_pass http://{};\n            \
         proxy_set_header X-Client-Protocol $server_protocol;\n        }}\n    }}",
        lane.mock.address()
    )
}

fn directives(trial: Trial) -> String {
    match trial {
        Trial::Flows | Trial::WrongScheme => "proxy_buffering off;".to_owned(),
        Trial::Compressed => {
            "proxy_buffering off; gzip on; gzip_types *; gzip_proxied any;".to_owned()
        }
        Trial::IdleCut => {
            let limit = CUT_AFTER.as_secs();
            format!("proxy_buffering off; proxy_read_timeout {limit}s;")
        }
        Trial::HeldBack | Trial::Defaults | Trial::AskedNotTo => String::new(),
        Trial::BodyHeldBack => "postpone_output 0;".to_owned(),
        Trial::ClientCertificate => {
            "proxy_buffering off; ssl_client_certificate ca.pem; ssl_verify_client on;".to_owned()
        }
        Trial::TooOld => "ssl_protocols TLSv1.1; ssl_ciphers DEFAULT@SECLEVEL=0;".to_owned(),
    }
}
