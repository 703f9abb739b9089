//! The `user` sections: names, secrets, and what messages say about them.

use super::*;

#[test]
fn users_have_a_name_and_a_secret_of_their_own() {
    let text = format!(
        "config user\n{}{}{}config user b\n",
        user("a", A),
        user("a", B),
        user("c", A)
    );
    let expected = [
        "1: a user without a name",
        "1: a user without a secret",
        "6: name 'a' is taken by the user on line 3",
        "10: secret is the same as on line 4",
        "11: a user without a secret",
    ];
    assert_problems(&text, &expected);
    let written_otherwise = format!(
        "{}{}",
        user("a", A),
        user("b", &format!("dd{}", A.to_uppercase()))
    );
    assert_problems(&written_otherwise, &["6: secret is the same as on line 3"]);
    let reopened = format!("config user a\noption secret {A}\nconfig user a\noption max_ips 1\n");
    assert_problems(&reopened, &["3: this user's section is opened again"]);
}

#[test]
fn names_of_users_are_text() {
    good(&user("Мама-2", A));
    assert_problems(&user("two words", A), &["?2: name 'two words' is hard to find"]);
    assert_problems(&user(&"n".repeat(65), A), &["2: name 'nnn"]);
    assert_problems(
        &user("a\u{7}b", A),
        &["2: name 'a\u{fffd}b' is too long or not text"],
    );
}

#[test]
fn secrets_are_read_in_every_form() {
    let key = |text: &str| good(&user("a", text)).users[0].secret.to_hex();
    assert_eq!(key(&A.to_uppercase()), A);
    assert_eq!(key(&format!("dd{A}")), A);
    assert_eq!(key(&format!("ee{A}6578616d706c652e6f7267")), A);
    assert_eq!(key("arH1DD6dJ4hP0rAXnONaYQ"), A);
    let other = format!(
        "config relay\noption front_domain b.example\n{}",
        user("a", &format!("ee{A}6578616d706c652e6f7267"))
    );
    assert_problems(&other, &["?5: secret carries another domain"]);
    for wrong in [
        "123",
        "",
        &A[1..],
        &format!("{A}0"),
        "password",
        &format!("0x{A}"),
        "пароль",
    ] {
        let found = problems(&user("a", wrong));
        assert!(
            found.len() == 1 && !found[0].starts_with('?'),
            "{wrong}: {found:?}"
        );
    }
}

#[test]
fn secrets_made_up_by_people_are_warned_about() {
    let weak = [
        "00000000000000000000000000000000",
        "0123456789abcdef0123456789abcdef",
        "00112233445566778899aabbccddeeff",
        "000102030405060708090a0b0c0d0e0f",
        "12345678901234567890123456789012",
        "deadbeefdeadbeefdeadbeefdeadbeef",
        "6d792073656372657420706173737764",
    ];
    for secret in weak {
        assert_problems(&user("a", secret), &["?3: secret is easy to guess"]);
    }
}

#[test]
fn no_user_is_a_warning() {
    assert_problems("", &["?1: no user,"]);
    assert_problems("# x\nconfig relay main\n", &["?2: no user,"]);
    assert_problems(
        &format!("{}option enabled 0", user("a", A)),
        &["?1: no enabled user,"],
    );
}

#[test]
fn no_message_shows_a_secret() {
    let bad = &A[..31];
    let texts = [
        user("a", bad),
        user("a", &format!("{A} {B}")),
        user(A, "1"),
        format!("{}{}", user("a", A), user("b", A)),
        format!("config user\noption name 'a\noption secret '{A}'\n"),
        format!("config user\noption name 'a\noption secret {A}'\noption expires '{A}\n'\n"),
        format!("config user\noption {A} 1\noption secret 1\n"),
        format!("config {A}\n"),
        format!("config relay\noption link_host '{A}:1'\noption modes {A}\n"),
        format!("config dc\noption id {A}\nlist address {A}\n"),
        format!("package {A}\npackage b{B}\n"),
    ];
    for text in texts {
        for problem in problems(&text) {
            assert!(
                !problem.contains(&A[4..20]) && !problem.contains(&B[4..20]),
                "{text}\n{problem}"
            );
        }
    }
}
