//! My profile, and what others see of it.

use serde_json::{Value, json};

use crate::client::{Client, PASSWORD};
use crate::shape::assert_shape;
use crate::shared::{fresh, person};

fn profile(client: &Client) -> Value {
    json!({
        "id": client.id,
        "username": null,
        "email": client.email,
        "fullName": null,
        "displayName": client.email.split('@').next(),
        "phoneNumber": null,
        "avatarUrl": null,
        "avatarColor": null,
        "createdAt": "<iso>",
        "updatedAt": "<iso>",
    })
}

#[tokio::test]
async fn a_profile_is_changed_field_by_field() {
    let ada = person("ada").await;
    let mut expected = profile(&ada);
    assert_shape(&ada.get("/users/me").await.expect(200), &expected);

    let (name, email) = (fresh("ada"), format!("{}@example.com", fresh("new")));
    let all = json!({
        "username": name, "email": email.to_uppercase(), "fullName": "Ada Byron", "displayName": "Ada",
        "phoneNumber": "+45 12 34 56 78", "avatarUrl": "https://example.com/ada.png", "avatarColor": "#ff8800",
    });
    for (field, value) in all.as_object().unwrap() {
        expected[field] = value.clone();
    }
    expected["email"] = email.as_str().into();
    assert_shape(&ada.put("/users/me", all).await.expect(200), &expected);

    for (change, field, value) in [
        (json!({"full_name": "Ada Lovelace"}), "fullName", json!("Ada Lovelace")),
        (json!({"phoneNumber": null}), "phoneNumber", Value::Null),
        (json!({}), "avatarColor", json!("#ff8800")),
    ] {
        expected[field] = value;
        assert_shape(&ada.put("/users/me", change).await.expect(200), &expected);
    }
    assert_shape(&ada.get("/users/me").await.expect(200), &expected);
    let login = json!({"username": email, "password": PASSWORD});
    ada.post("/users/login", login).await.expect(200);
}

#[tokio::test]
async fn a_name_or_an_address_that_is_taken_is_refused() {
    let (ada, ben) = tokio::join!(person("ada"), person("ben"));
    let name = fresh("ada");
    ada.put("/users/me", json!({"username": name})).await.expect(200);
    let taken = ben.put("/users/me", json!({"username": name.to_uppercase(), "displayName": "B"})).await;
    taken.expect_problem(409, "username_taken");
    ben.put("/users/me", json!({"email": ada.email})).await.expect_problem(409, "email_taken");
    assert_shape(&ben.get("/users/me").await.expect(200), &profile(&ben));
}

#[tokio::test]
async fn others_see_neither_email_nor_phone() {
    let (ada, ben) = tokio::join!(person("ada"), person("ben"));
    let name = fresh("Ada");
    let change = json!({"username": name, "phoneNumber": "+45 12345678", "avatarColor": "teal"});
    ada.put("/users/me", change).await.expect(200);
    let public = json!({
        "id": ada.id, "username": name, "fullName": null, "displayName": ada.email.split('@').next(),
        "avatarUrl": null, "avatarColor": "teal",
    });

    for spelling in [name.clone(), name.to_lowercase()] {
        assert_eq!(ben.get(&format!("/users/{spelling}")).await.expect(200), public);
    }
    let found = ben.get(&format!("/users/?query={}", &name[1..])).await.expect(200);
    assert_eq!(found, json!({"items": [public], "next": null}));
    ben.get("/users/nobody-has-this-name").await.expect_problem(404, "not_found");
    ben.get(&format!("/users/{}", ada.id)).await.expect_problem(404, "not_found");
    let nobody = ben.get("/users/?query=nobody%20has%20this%20name").await.expect(200);
    assert_eq!(nobody, json!({"items": [], "next": null}));
    // Neither can be searched by.
    let by_email = ben.get(&format!("/users/?query={}", ada.email)).await.expect(200);
    assert_eq!(by_email["items"], json!([]));
}

#[tokio::test]
async fn a_search_is_read_page_by_page() {
    let family = fresh("family");
    let people = tokio::join!(person(&family), person(&family), person(&family));
    let reader = &people.0;
    let mut found = Vec::new();
    let mut path = format!("/users?query={family}&limit=2");
    for (items, is_last) in [(2, false), (1, true)] {
        let page = reader.get(&path).await.expect(200);
        let names = page["items"].as_array().unwrap().iter().map(|user| user["id"].clone());
        found.extend(names);
        assert_eq!(page["items"].as_array().unwrap().len(), items);
        assert_eq!(page["next"].is_null(), is_last);
        path = format!("/users?query={family}&limit=2&after={}", page["next"].as_str().unwrap_or_default());
    }
    for person in [&people.0, &people.1, &people.2] {
        assert!(found.contains(&json!(person.id)), "{found:?}");
    }
}
