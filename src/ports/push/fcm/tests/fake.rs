//! The fake FCM itself, as the tests and people drive it.

use super::*;

#[tokio::test]
async fn the_fake_is_driven_over_http_and_speaks_both_versions_of_it() {
    let bench = bench().await;
    bench.send("before").await.unwrap();
    let script = json!({
        "reset": true,
        "replies": [{"times": 2, "code": "UNAVAILABLE", "retryAfter": "5"}, {"code": "INTERNAL", "cut": "close"}],
        "latencyMs": {"min": 0, "max": 1},
        "oauth": {"mode": "ok", "expiresIn": 60, "revoke": true},
    });
    for client in [Client::builder().http1_only(), Client::builder().http2_prior_knowledge()] {
        let client = client.no_proxy().build().unwrap();
        let script = client.post(format!("{}/script", bench.fake.url())).json(&script).send().await.unwrap();
        assert_eq!(script.json::<serde_json::Value>().await.unwrap()["pendingReplies"], 3);
        bench.send("after").await.unwrap_err();
        let log = client.get(format!("{}/log", bench.fake.url())).send().await.unwrap();
        let log: serde_json::Value = log.json().await.unwrap();
        assert_eq!(log.as_array().map(Vec::len), Some(2), "{log}");
        let (first, last) = (&log[0], &log[1]);
        assert_eq!((&first["outcome"], &first["attempt"]), (&json!("UNAUTHENTICATED"), &json!(1)));
        assert_eq!((&last["outcome"], &last["attempt"]), (&json!("UNAVAILABLE"), &json!(2)));
        assert_eq!(last["message"]["data"]["seq"], "7");
        assert_eq!(last["at"], bench.clock.now().timestamp_millis());
        let unknown = client.get(format!("{}/nowhere", bench.fake.url())).send().await.unwrap();
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_message_that_is_only_validated_is_not_logged() {
    let bench = bench().await;
    let token = bench.gateway.tokens.current().await.unwrap();
    let send = |body: serde_json::Value| {
        let request = bench.gateway.http.post(bench.gateway.send_url.clone());
        request.header(AUTHORIZATION, token.header()).json(&body).send()
    };
    let ok = send(json!({"validate_only": true, "message": {"token": "t"}})).await.unwrap();
    assert_eq!(ok.status(), StatusCode::OK);
    let wrong =
        send(json!({"validate_only": true, "message": {"token": "t", "data": {"n": 1}}})).await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert!(bench.fake.log().is_empty());
}
