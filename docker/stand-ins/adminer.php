<?php
// The form's server, where the visitor hasn't named one.
if (!isset($_GET['server']) && !isset($_GET['pgsql']) && !isset($_POST['auth'])) {
    $_GET['server'] = getenv('ADMINER_DEFAULT_SERVER') ?: '';
}
include '/usr/share/adminer/adminer.php';
