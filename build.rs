fn main() {
    // `sqlx::migrate!` embeds the folder, which cargo does not watch by itself.
    println!("cargo::rerun-if-changed=migrations");
}
