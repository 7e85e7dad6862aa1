//! The configuration that the reference prints under "Running Standalone", with nothing changed but the ports.

use serde_json::json;
use stentor::config::Syntax;
use tokio::net::TcpStream;

use crate::client::{Client, Offer};
use crate::house::{read, start_with};
use crate::http::{Http, request};

const CONFIG: &str = r#"{
   "workers": [
      {
         "type": "router",
         "realms": [
            {
               "name": "realm1",
               "roles": [
                  {
                     "name": "role1",
                     "permissions": [
                        {
                           "uri": "*",
                           "publish": true,
                           "subscribe": true,
                           "call": true,
                           "register": true
                        }
                     ]
                  }
               ]
            }
         ],
         "transports": [
            {
               "type": "websocket",
               "endpoint": {
                  "type": "tcp",
                  "port": 9000
               }
            },
            {
               "type": "web",
               "endpoint": {
                  "type": "tcp",
                  "port": 8080
               },
               "paths": {
                  "/": {
                     "type": "pusher",
                     "realm": "realm1",
                     "role": "role1"
                  }
               }
            }
         ]
      }
   ]
}"#;

#[tokio::test]
async fn an_anonymous_browser_gets_what_curl_posts() {
    let config = CONFIG.replace("9000", "0").replace("8080", "0");
    let node = start_with(read(&config, Syntax::Json), 2);
    assert!(node.running.open[0].url.starts_with("ws://localhost:"));
    assert!(node.running.open[1].url.starts_with("http://localhost:"));
    let connect =
        async |transport: usize| TcpStream::connect(("127.0.0.1", node.address(transport).port())).await.unwrap();
    // `ws://127.0.0.1:9000`: the path is the root.
    let offer = Offer { path: "/", subprotocols: "wamp.2.json, wamp.2.msgpack", ..Offer::default() };
    let mut browser = Client::open(connect(0).await, offer).await.unwrap();
    browser.join("realm1").await;
    let subscription = browser.subscribe("com.myapp.topic1").await;
    let mut http = Http::over(connect(1).await);
    let headers = [("User-Agent", "curl/8"), ("Accept", "*/*"), ("Content-Type", "application/json")];
    http.send(request("POST", "/", &headers, br#"{"topic": "com.myapp.topic1", "args": ["Hello, world"]}"#)).await;
    let reply = http.reply().await;
    assert_eq!(reply.status, 202);
    assert_eq!(browser.text().await, format!(r#"[36,{subscription},{},{{}},["Hello, world"]]"#, reply.id()));
    // The client library of that time sends these.
    let body = json!({"topic": "com.myapp.topic1", "args": ["Hello, world!", 23]}).to_string();
    http.post("/?timestamp=2014-07-08T10:11:12.123Z&seq=1", &[], body.as_bytes()).await.id();
    assert_eq!(browser.expect(36).await[4], json!(["Hello, world!", 23]));
}
